"""What a search costs: its trials beside the same trainings by `distill()`, and beside the student on labels alone.

    python benchmarks/search.py --data FOLDER            results/search.json, some minutes
    python benchmarks/search.py --data FOLDER --quick    to see that it runs; writes nothing

The targets are recorded before anything is timed; the teacher has random weights, since what it says changes no
student's time. All run one by one in this process, so that nothing but the search itself is compared: proposing,
writing down, reading recorded targets.
"""

import gc
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
import tyro
from record import write_record
from rich.console import Console
from rich.progress import track
from rounds import Ratio, ratio
from torch import nn

from limbeck.campaigns.search import search
from limbeck.campaigns.space import applied, default_space
from limbeck.data.open import load
from limbeck.data.splits import Splits, without_test
from limbeck.objective import HardLabels
from limbeck.specification import Distillation
from limbeck.training.distill import distill
from limbeck.training.progress import Silent
from limbeck.training.recording import record
from limbeck.training.run import Run
from limbeck_recipes.mnist import mnist, teacher_network

GOAL = 1.05
SEED = 1000


def main(
    *,
    data: str,
    trials: int = 4,
    rounds: int = 5,
    epochs: int = 1,
    rows: int | None = None,
    quick: bool = False,
    out: Path = Path("results/search.json"),
) -> None:
    """Time searches and the same trainings, in rounds whose order is drawn anew.

    Args:
        data: a folder with MNIST.
        trials: of a search.
        rounds: that are counted; one before them is not.
        epochs: of each student.
        rows: training rows; all unless given.
        quick: two trials of a few rows, two rounds, nothing written.
        out: where the record goes.
    """
    if quick:
        trials, rounds, rows = 2, 2, rows or 2000
    with tempfile.TemporaryDirectory() as folder:
        laps = _Laps(Path(folder), data, trials, epochs, rows)
        seconds = _timed(laps.all, rounds)
        calls = _Counted.calls - laps.calls_of_recording
    found = {
        "search_over_distill": ratio(seconds, "search", "distill", seed=0, goal=GOAL),
        "search_over_alone": ratio(seconds, "search", "alone", seed=0, goal=GOAL),
    }
    for name, one in found.items():
        _say(name, one)
    print(f"calls of the teacher during {rounds + 1} searches: {calls}")
    if not quick:
        setting = {"trials": trials, "rounds": rounds, "epochs": epochs, "rows": rows}
        ratios = {name: {**asdict(one), "verdict": one.verdict} for name, one in found.items()}
        record_ = {**setting, "teacher_calls": calls, "seconds": seconds, "ratios": ratios}
        write_record(out, {"students": SEED, "rounds": 0}, record_)


class _Counted(nn.Sequential):
    """A teacher that counts how often it is called."""

    calls = 0

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        _Counted.calls += 1
        return super().forward(input)


def untrained() -> nn.Module:
    """The recipe's teacher, as it is drawn."""
    torch.manual_seed(0)
    return _Counted(*teacher_network())


class _Laps:
    """A search, and the same trainings without it."""

    def __init__(self, folder: Path, data: str, trials: int, epochs: int, rows: int | None) -> None:
        self.folder, self.trials, self.number = folder, trials, 0
        live = replace(
            mnist(data=data),
            data=partial(_some, data, rows),
            teacher=untrained,
            teacher_prepare=mnist(data=data).prepare,
            epochs=epochs,
            probe_rows=0,
            device="cpu",
        )
        record(live, folder / "targets", watcher=Silent())
        self.calls_of_recording = _Counted.calls
        self.taught = replace(live, teacher=None, targets=folder / "targets")
        first = self._search()
        self.settings = [dict(trial.settings) for trial in first]

    @property
    def all(self) -> Mapping[str, Callable[[], None]]:
        return {"search": self.search, "distill": self.distill, "alone": self.alone}

    def search(self) -> None:
        again = [dict(trial.settings) for trial in self._search()]
        assert again == self.settings, "a search that is repeated proposes the same settings"

    def distill(self) -> None:
        self._each({f"{place}": applied(self.taught, settings) for place, settings in enumerate(self.settings)})

    def alone(self) -> None:
        alone = replace(self.taught, targets=None, objective=HardLabels())
        known = [{name: each[name] for name in ("rate", "weight_decay")} for each in self.settings]
        self._each({f"{place}": applied(alone, settings) for place, settings in enumerate(known)})

    def _each(self, specs: Mapping[str, Distillation]) -> None:
        blind = {name: replace(spec, data=partial(without_test, spec.data), seed=SEED) for name, spec in specs.items()}
        self._execute(self._fresh(), blind)

    def _search(self):
        folder = self._fresh()
        return search(
            {"distilled": (self.taught, default_space(self.taught))},
            trials=self.trials,
            seeds=[SEED],
            execute=lambda specs, what: self._execute(folder, specs),
            storage=folder / "search.db",
            watcher=Silent(),
        )["distilled"].trials

    @staticmethod
    def _execute(folder: Path, specs: Mapping[str, Distillation]) -> dict[str, Run]:
        return {name: distill(spec, folder / name, watcher=Silent()) for name, spec in specs.items()}

    def _fresh(self) -> Path:
        shutil.rmtree(self.folder / f"lap-{self.number}", ignore_errors=True)
        self.number += 1
        return self.folder / f"lap-{self.number}"


def _timed(laps: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    shuffled = random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in laps}
    for number in track(range(-1, rounds), "timing", console=Console(stderr=True)):
        for name in shuffled.sample(list(laps), len(laps)):
            gc.collect()
            began = time.perf_counter()
            laps[name]()
            if number >= 0:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def _some(data: str, rows: int | None) -> Splits:
    found = load(data)
    assert isinstance(found, Splits)
    return found if rows is None else replace(found, train=found.train.subset(torch.arange(rows)))


def _say(name: str, one: Ratio) -> None:
    print(f"{name}: {one.median:.3f} [{one.low:.3f}, {one.high:.3f}], goal {one.goal}: {one.verdict}")


if __name__ == "__main__":
    tyro.cli(main)
