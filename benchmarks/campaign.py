"""What the runs of a campaign cost one by one, side by side, as stacks side by side, and as one stack.

    python benchmarks/campaign.py               results/campaign.json, about seven minutes on two cores
    python benchmarks/campaign.py --quick       a few seconds, to see that it runs; writes nothing unless told where

The runs are those of the digits demo, five arms at eight seeds: the same student with its teacher recorded, on labels
alone, with smoothed labels, and with two other weights and temperatures, each arm at a rate of its own. Everything that
a run leaves in its folder is part of the time. One by one means `distill` after `distill` in this process; what its
loop costs a step is printed beside the leanest hand-written loop's, so that a slow loop cannot flatter the ratio.

Before anything is timed, runs of each way are compared with those one by one: weights after 56 steps, and what the
students of the whole runs answer.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from statistics import median
from typing import Any, final

import torch
import tyro
from loops import Lap, Loop, Stopwatch, Task, lean, ours
from record import STATE, machine, write_record
from rounds import check_same_students, ratio, timed
from torch import Tensor

from limbeck.campaigns.many import run_in_shares, run_specifications
from limbeck.files import read_tensors
from limbeck.objective import HardLabels, SoftTargets
from limbeck.specification import Distillation, require_importable
from limbeck.teachers import FrozenTeacher
from limbeck.training.distill import distill
from limbeck.training.progress import Silent
from limbeck.training.recording import record
from limbeck.training.run import Run
from limbeck.training.runner import cores
from limbeck.training.stacking.distill import distill_stacked
from limbeck_recipes.digits import digits, member

SEED = 0
"""Of the teacher, of the order of the ways, and the bootstrap; the runs have seeds of their own."""
GOAL = 4.0
"""How many times as long as the quickest way the runs may take one by one, at least."""
BUSY = 0.5
STEP_ROWS = 400 * 32
FEW_EPOCHS = 7
"""Of eight steps each: the steps after which weights are compared."""
RTOL = 1e-5
"""How far a parameter may then be from where it is one by one, of its length."""

ONE_BY_ONE = "one by one"


def arms(store: Path, epochs: int) -> dict[str, Distillation]:
    """The specifications by arm; their seeds are to be set."""
    base = replace(digits(), teacher=None, targets=store, epochs=epochs, device="cpu")
    adam = partial(torch.optim.Adam)
    return {
        "distilled": base,
        "alone": replace(base, targets=None, objective=HardLabels(), optimizer=partial(adam, lr=3e-3)),
        "smoothed": replace(base, targets=None, objective=HardLabels(smoothing=0.1), optimizer=partial(adam, lr=6e-3)),
        "even": replace(
            base, objective=0.5 * SoftTargets(temperature=8.0) + 0.5 * HardLabels(), optimizer=partial(adam, lr=5e-3)
        ),
        "soft": replace(base, objective=SoftTargets(temperature=2.0), optimizer=partial(adam, lr=8e-3)),
    }


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Campaign:
    """What every way is given."""

    folder: Path
    seeds: int
    epochs: int

    @cached_property
    def store(self) -> Path:
        """A teacher's answers, recorded; it has learnt nothing: arithmetic takes as long with any weights."""
        torch.manual_seed(SEED)
        teacher = FrozenTeacher(member().eval(), prepare=lambda columns: columns["features"])
        record(replace(digits(), teacher=teacher, device="cpu"), self.folder / "store", watcher=Silent())
        return self.folder / "store"

    @property
    def specs(self) -> dict[str, Distillation]:
        """All runs by name."""
        return {
            f"{name}-{seed}": replace(spec, seed=seed)
            for name, spec in arms(self.store, self.epochs).items()
            for seed in range(self.seeds)
        }


Way = Callable[[Mapping[str, Distillation], Path], Any]
"""Runs specifications into a folder, each into one of its name."""


def one_by_one(specs: Mapping[str, Distillation], folder: Path) -> float:
    """Run after run in this process; returns the seconds of their loops, validation and probes included."""
    seconds = 0.0
    for name, spec in specs.items():
        stopwatch = Stopwatch()
        distill(spec, folder / name, watcher=stopwatch)
        seconds += stopwatch.seconds
    return seconds


def side_by_side(specs: Mapping[str, Distillation], folder: Path) -> None:
    """Each run by itself, in as many processes as there are cores, which have been started before."""
    run_specifications(specs, folder, watcher=Silent(), what="training", engine="apart")


def stacked(specs: Mapping[str, Distillation], folder: Path) -> None:
    """All runs as one stack in this process."""
    distill_stacked([(spec, folder / name) for name, spec in specs.items()], watcher=Silent())


def stacks_side_by_side(specs: Mapping[str, Distillation], folder: Path) -> None:
    """A share of the stack in each of as many processes as there are cores, which have been started before."""
    jobs = [(spec, folder / name) for name, spec in specs.items()]
    tasks = {out: require_importable(spec) for spec, out in jobs}
    run_in_shares(jobs, tasks, Silent(), "training", cores(), "loky")


WAYS: Mapping[str, Way] = {
    ONE_BY_ONE: one_by_one,
    "side by side": side_by_side,
    "stacked": stacked,
    "stacks side by side": stacks_side_by_side,
}


def main(*, rounds: int = 5, out: Path | None = None, quick: bool = False) -> None:
    """Compare, measure, print and record.

    Args:
        rounds: how often each way is timed.
        out: where the record goes; results/campaign.json unless it is quick.
        quick: two seeds of two epochs, two rounds.
    """
    print(f"{machine()['cpu']}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    if STATE["load_before"] > BUSY:
        print(f"Others use this machine (load {STATE['load_before']:.1f}): the figures will be rough.")
    rounds = 2 if quick else rounds
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(folder=Path(folder), seeds=2 if quick else 8, epochs=2 if quick else digits().epochs)
        settings = {"rounds": rounds, "arms": len(arms(campaign.store, 1)), "runs": len(campaign.specs)}
        found = {
            **settings,
            "epochs": campaign.epochs,
            "equal": compare(campaign),
            "step": measure_steps(rounds if quick else 3 * rounds, quick),
            **measure(campaign, rounds),
        }
    out = out or (None if quick else Path("results/campaign.json"))
    if out is not None:
        seeds = {"teacher": SEED, "ways": SEED, "bootstrap": SEED, "runs": list(range(campaign.seeds))}
        write_record(out, seeds, found)


def compare(campaign: Campaign) -> dict[str, Any]:
    """Compare the runs of each way with those one by one, print and return how far they are apart.

    Raises: AssertionError where weights differ by more than rounding, or a student answers another class.
    """
    found: dict[str, Any] = {}
    for epochs in sorted({min(FEW_EPOCHS, campaign.epochs), campaign.epochs}):
        specs = {name: replace(spec, epochs=epochs) for name, spec in campaign.specs.items()}
        for name, way in WAYS.items():
            way(specs, campaign.folder / name)
        steps = Run(campaign.folder / ONE_BY_ONE / next(iter(specs))).summary["steps"]
        print(f"\nBeside the same {len(specs)} runs one by one, after {steps} steps:")
        for name in WAYS:
            if name != ONE_BY_ONE:
                apart = _apart(specs, campaign.folder / ONE_BY_ONE, campaign.folder / name)
                if epochs <= FEW_EPOCHS:
                    assert apart["weights"] <= RTOL, f"{name}: weights differ by {apart['weights']:.1e}"
                assert not apart["other_answers"], f"{name}: {apart['other_answers']} rows are answered otherwise"
                found.setdefault(name, {})[f"{steps} steps"] = apart
                print(
                    f"  {name:22} weights differ by {apart['weights']:.1e} of their length at most, "
                    f"{apart['other_answers']} of {apart['answers']} test rows are answered otherwise"
                )
        for name in WAYS:
            shutil.rmtree(campaign.folder / name)
    return found


def _apart(specs: Mapping[str, Distillation], expected: Path, found: Path) -> dict[str, Any]:
    """The largest differences between runs of the same names: of last weights, and of answers to the test rows."""
    weights, logits, other, answers = 0.0, 0.0, 0, 0
    for name in specs:
        theirs, ours = (_last_weights(Run(folder / name)) for folder in (expected, found))
        for key, tensor in theirs.items():
            weights = max(weights, float((ours[key] - tensor).norm() / tensor.norm()))
        said = [Run(folder / name).predictions("student", "test") for folder in (expected, found)]
        theirs_said, ours_said = (one.logits for one in said if one is not None)
        logits = max(logits, float((ours_said - theirs_said).norm() / theirs_said.norm()))
        other += int((ours_said.argmax(-1) != theirs_said.argmax(-1)).sum())
        answers += len(theirs_said)
    return {"weights": weights, "logits": logits, "other_answers": other, "answers": answers}


def _last_weights(run: Run) -> dict[str, Tensor]:
    (folder,) = run.checkpoints.glob("last-*")
    return read_tensors(folder / "student.safetensors")


def measure_steps(rounds: int, quick: bool) -> dict[str, Any]:
    """Time steps of the demo's student by `distill` and by the leanest loop, print microseconds, return the record."""
    generator = torch.Generator().manual_seed(SEED)
    rows = STEP_ROWS // 10 if quick else STEP_ROWS
    task = Task(
        features=torch.rand(rows, 64, generator=generator),
        labels=torch.randint(0, 10, (rows,), generator=generator),
        teacher_widths=(64, 128, 128, 10),
        student_widths=(64, 16, 16, 10),
        batch_size=32,
        seed=SEED,
    )
    loops: dict[str, Loop] = {"lean": partial(lean, recorded="teacher"), "distill": partial(ours, recorded="teacher")}
    check_same_students(loops, task)
    seconds = timed(loops, task, rounds=rounds, seed=SEED)
    found = ratio(seconds, "distill", "lean", seed=SEED)
    micro = {name: 1e6 * median(laps) / task.steps for name, laps in seconds.items()}
    print(f"\nMicroseconds per step of {task.student_widths}, batch {task.batch_size}, recorded targets")
    for name, value in micro.items():
        print(f"  {name:22}{value:8.0f}")
    print(f"  distill / lean: {found.median:.3f} [{found.low:.3f}, {found.high:.3f}]")
    return {"steps": task.steps, "seconds": seconds, "microseconds": micro, "ratio": asdict(found)}


def measure(campaign: Campaign, rounds: int) -> dict[str, Any]:
    """Time all ways, print seconds and ratios, return the record."""
    side_by_side(dict(list(campaign.specs.items())[: cores()]), campaign.folder / "warm")  # processes start
    loops_only: list[float] = []

    def lap(way: Way, _task: Task) -> Lap:
        folder, specs = campaign.folder / "timed", campaign.specs
        began = time.perf_counter()
        found = way(specs, folder)
        seconds = time.perf_counter() - began
        shutil.rmtree(folder)
        if way is one_by_one:
            loops_only.append(found)
        return Lap(seconds, {})

    laps: dict[str, Loop] = {name: partial(lap, way) for name, way in WAYS.items()}
    seconds = timed(laps, _no_task(), rounds=rounds, seed=SEED)
    ratios = [ratio(seconds, ONE_BY_ONE, name, seed=SEED) for name in WAYS if name != ONE_BY_ONE]
    best = max(ratios, key=lambda found: found.median)
    verdict = "met" if best.low >= GOAL else "missed" if best.high < GOAL else "open"
    steps = len(campaign.specs) * campaign.epochs * -(-256 // 32)
    micro = 1e6 * median(loops_only) / steps
    print(f"\nSeconds of {len(campaign.specs)} runs of {campaign.epochs} epochs, median of {rounds} rounds")
    for name, all_laps in seconds.items():
        print(f"  {name:22}{median(all_laps):8.2f}")
    print(f"  (one by one, of which loops, scored and probed: {micro:.0f} microseconds a step)")
    print("\nOne by one takes so many times as long, within rounds, median [95 % interval]")
    for found in ratios:
        goal = f"   goal ≥ {GOAL:g}: {verdict}" if found is best else ""
        print(f"  {found.under:22}{found.median:8.2f} [{found.low:.2f}, {found.high:.2f}]{goal}")
    return {
        "seconds": seconds,
        "medians": {name: median(all_laps) for name, all_laps in seconds.items()},
        "loop_microseconds": micro,
        "ratios": [asdict(found) for found in ratios],
        "best": {"way": best.under, "goal": GOAL, "verdict": verdict},
    }


def _no_task() -> Task:
    empty: Sequence[int] = ()
    return Task(
        features=torch.empty(0), labels=torch.empty(0), teacher_widths=empty, student_widths=empty, batch_size=1
    )


if __name__ == "__main__":
    tyro.cli(main)
