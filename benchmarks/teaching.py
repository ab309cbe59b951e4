"""What the teaching was worth, on real data: the demo, and the MNIST recipe tried in the same way.

    python benchmarks/teaching.py digits                  results/demo.json, about a minute
    python benchmarks/teaching.py mnist --data FOLDER     results/mnist.json, some tens of minutes

Each arm's learning rate is chosen on validation rows from one grid; then both are scored once on the test rows, over
paired seeds. Runs are kept in `--runs`, so that a measurement that was stopped goes on where it was.
"""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from record import write_record

from limbeck.campaigns.trial import Trial, TrialRuns, run_trial
from limbeck.cli.main import main as limbeck
from limbeck.evidence.statistics import paired_difference
from limbeck.files import read_json
from limbeck.objective import HardLabels
from limbeck.training.progress import watcher
from limbeck_recipes.mnist import mnist

Name = Literal["digits", "mnist"]


def main(
    name: Annotated[Name, tyro.conf.Positional],
    *,
    data: Path | None = None,
    runs: Path = Path("runs"),
    results: Path = Path("results"),
) -> None:
    """Measure and record.

    Args:
        name: digits or mnist.
        data: a folder with MNIST.
        runs: where the runs go.
        results: where the record goes.
    """
    if name == "digits":
        record_demo(runs / "demo", results / "demo.json")
    elif data is None:
        raise SystemExit("mnist needs --data FOLDER.")
    else:
        record_mnist(data.resolve(), runs / "mnist-trial", results / "mnist.json")


def record_demo(folder: Path, out: Path) -> None:
    """Run `limbeck demo` and keep its facts but for the pictures."""
    status = limbeck(["demo", "--out", str(folder), "--resume"])
    if status:
        raise SystemExit(status)
    facts = read_json(folder / "facts.json")
    kept = ("rows", "errors", "table", "difference", "grid", "choices")
    write_record(out, {"students": facts["seeds"]}, {name: facts[name] for name in kept})


def record_mnist(data: Path, folder: Path, out: Path) -> None:
    """Try the recipe's student, five epochs, taught and alone."""
    taught = mnist(data=str(data))
    trial = Trial(
        taught=taught,
        alone=replace(taught, teacher=None, objective=HardLabels()),
        rates=(3e-4, 1e-3, 3e-3),
        selection_seeds=(100,),
        seeds=tuple(range(6)),
    )
    found = run_trial(trial, folder, watcher=watcher())
    errors = {arm: test_errors(found, arm) for arm in trial.arms}
    difference = paired_difference(errors["alone"], errors["taught"])
    first = next(iter(found.runs["taught"].values()))
    teacher = first.summary["teacher"]["test"]
    rows = {split: part and part["rows"] for split, part in first.spec["data"].items()}
    print(f"errors of {rows['test']:,}: teacher {teacher['errors']:.0f}, {errors}\n{difference}")
    record: dict[str, Any] = {
        "rows": rows,
        "errors": {**errors, "teacher": [teacher["errors"]]},
        "difference": asdict(difference),
        "grid": {arm: {f"{rate:g}": wrong for rate, wrong in row.items()} for arm, row in found.grid.items()},
        "choices": dict(found.choices),
        "epochs": taught.epochs,
    }
    write_record(out, {"students": list(trial.seeds), "teacher": 0}, record)


def test_errors(found: TrialRuns, arm: str) -> list[float]:
    """Errors on the test rows, seed by seed."""
    return [run.summary["student"]["test"]["errors"] for run in found.runs[arm].values()]


if __name__ == "__main__":
    tyro.cli(main)
