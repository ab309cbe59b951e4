"""What the teaching was worth, on real data: `limbeck demo`, and its facts but for the pictures.

    python benchmarks/teaching.py        results/demo.json, some minutes

Runs are kept in `--runs`, so that a measurement that was stopped goes on where it was.
"""

from pathlib import Path

import tyro
from record import write_record

from limbeck.cli.main import main as limbeck
from limbeck.files import read_json

KEPT = (
    *("rows", "seeds", "selection_seeds", "tuned", "verdict", "replace", "gap", "controls", "explained", "left_out"),
    *("arms", "teacher", "fidelity", "calibration", "gradients", "ledger"),
)
"""Sections of facts.json that stand in the record."""


def main(*, runs: Path = Path("runs/demo"), out: Path = Path("results/demo.json")) -> None:
    """Run the demo and record what it found.

    Args:
        runs: where its runs go.
        out: where the record goes.
    """
    status = limbeck(["demo", "--out", str(runs), "--resume"])
    if status:
        raise SystemExit(status)
    facts = read_json(runs / "facts.json")
    seeds = {"students": facts["seeds"], "selection": facts["selection_seeds"]}
    write_record(out, seeds, {"seconds": facts["provenance"]["seconds"], **{name: facts[name] for name in KEPT}})


if __name__ == "__main__":
    tyro.cli(main)
