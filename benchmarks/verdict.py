"""The verdicts put to the proof themselves: how often they cry "helped" where nothing helps, and what they can see.

    python benchmarks/verdict.py                results/verdict.json, about twenty minutes on two cores
    python benchmarks/verdict.py --quick        a minute, to see that it runs

Two kinds of A/A campaign, in which both arms are the same student on labels alone and differ in nothing but seeds:

*resampled*: a pool of real runs on the bundled digits, trained once; each campaign draws two disjoint sets of eight out
of it, pairs them, and gets its verdict. *retrained*: every campaign searches the settings of both arms afresh, by as
many trials, with seeds of its own, and trains both arms at eight new seeds.

Power is measured on the resampled campaigns by adding an effect to the paired differences: the one that the campaign
itself says it can resolve, and two standard deviations between seeds.
"""

import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from record import write_record
from scipy import stats

from limbeck.campaigns.means import Means, executor
from limbeck.campaigns.search import search
from limbeck.campaigns.space import Range, applied
from limbeck.evidence.comparison import wrong_rows
from limbeck.evidence.contrast import contrast
from limbeck.evidence.question import Question
from limbeck.evidence.verdict import verdict
from limbeck.objective import HardLabels
from limbeck.specification import Distillation
from limbeck.training.progress import Silent, watcher
from limbeck.training.runner import run_all
from limbeck_recipes.digits import digits

PAIRS = 8
SPACE = {"rate": Range(low=3e-3, high=1e-1, log=True)}


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is done."""

    pool: int
    """Real runs that the resampled campaigns draw from."""
    resampled: int
    retrained: int
    trials: int
    """Settings that the search of each arm of a retrained campaign tries, as many as the demo's."""
    selecting: int
    """Seeds at which each of them is tried."""


WHOLE = Size(pool=400, resampled=20_000, retrained=200, trials=16, selecting=2)
QUICK = Size(pool=24, resampled=50, retrained=2, trials=2, selecting=1)


def main(*, quick: bool = False, runs: Path = Path("runs/verdict"), out: Path = Path("results/verdict.json")) -> None:
    """Measure and record.

    Args:
        quick: a few of each, to see that it runs; nothing is recorded.
        runs: where the pool goes; it is kept, and a measurement that was stopped goes on.
        out: where the record goes.
    """
    size = QUICK if quick else WHOLE
    wrong_PN = pool(size.pool, runs / f"pool-{size.pool}")
    found: dict[str, Any] = {
        "pairs": PAIRS,
        "pool": {
            "runs": len(wrong_PN),
            "errors": {"mean": 100 * wrong_PN.mean(), "sd": (100 * wrong_PN.mean(1)).std(ddof=1)},
        },
        "resampled": resampled(wrong_PN, size.resampled),
        "retrained": retrained(size, runs / "retrained"),
    }
    for name in ("resampled", "retrained"):
        print(name, found[name])
    if not quick:
        write_record(out, {"pool": [0, size.pool - 1], "resampling": 0, "retrained": 10_000}, found)


def alone(**changes: Any) -> Distillation:
    """The demo's student on labels alone."""
    return replace(digits(), teacher=None, objective=HardLabels(), probe_rows=0, log_every=10_000, **changes)


def pool(count: int, folder: Path) -> NDArray[np.bool_]:
    """Which test rows each of many runs gets wrong.  -> (P, N)."""
    means = Means(watcher=watcher())
    specs = {f"alone-{seed}": alone(seed=seed) for seed in range(count)}
    found = executor(folder, means)(specs, f"training a pool of {count} students")
    return wrong_rows({seed: found[f"alone-{seed}"] for seed in range(count)})


def resampled(wrong_PN: NDArray[np.bool_], campaigns: int) -> dict[str, Any]:
    """Draw campaigns from the pool, and count what their verdicts say, as they are and with an effect added."""
    generator = np.random.default_rng(0)
    question = Question()
    spread = float(np.std(100 * (wrong_PN[0::2].mean(1) - wrong_PN[1::2].mean(1)), ddof=1))
    outcomes: Counter[str] = Counter()
    resolved = decided = 0
    claims = []
    for _ in range(campaigns):
        drawn = generator.permutation(len(wrong_PN))[: 2 * PAIRS]
        first, second = wrong_PN[drawn[:PAIRS]], wrong_PN[drawn[PAIRS:]]
        said = verdict(first, second, question, saw_test="no")
        outcomes[said.outcome] += 1
        differences = np.asarray(said.contrast.differences)
        claim = said.resolution.seeds
        claims.append(claim)
        resolved += contrast(differences + claim, alpha=question.alpha()).side > 0
        decided += contrast(differences + 2 * spread, alpha=question.alpha()).side != 0
    return {
        "campaigns": campaigns,
        "outcomes": dict(outcomes),
        "false_helped": rate(outcomes["helped"], campaigns),
        "false_harmed": rate(outcomes["harmed"], campaigns),
        "power_at_resolution": rate(resolved, campaigns),
        "decided_at_two_sd": rate(decided, campaigns),
        "sd_of_differences": spread,
        "resolution": {"median": float(np.median(claims)), "quartiles": np.quantile(claims, [0.25, 0.75]).tolist()},
    }


def retrained(size: Size, folder: Path) -> dict[str, Any]:
    """Search and train both arms of each campaign afresh, and count what the verdicts say."""
    tasks = [{"number": number, **asdict(size), "folder": str(folder)} for number in range(size.retrained)]
    answers = run_all(campaign, tasks, watcher=watcher(), what="retraining campaigns")
    said = [verdict(*map(np.asarray, arms), Question(), saw_test="no") for arms in answers]
    outcomes = Counter(one.outcome for one in said)
    return {
        "campaigns": size.retrained,
        "trials": size.trials,
        "selecting": size.selecting,
        "outcomes": dict(outcomes),
        "differences": [one.contrast.mean for one in said],
        "false_helped": rate(outcomes["helped"], size.retrained),
        "false_harmed": rate(outcomes["harmed"], size.retrained),
    }


def campaign(*, number: int, folder: str, **size: int) -> list[list[list[bool]]]:
    """Both arms of one retrained campaign: a task for a process of its own."""
    return [arm(number, which, Size(**size), Path(folder)).tolist() for which in (0, 1)]


def arm(number: int, which: int, size: Size, folder: Path) -> NDArray[np.bool_]:
    """One arm of one retrained campaign: its own search, its own seeds.  -> (S, N)."""
    here = folder / f"{number}-{which}"
    shutil.rmtree(here, ignore_errors=True)
    first = 10_000 + 100 * (2 * number + which)
    execute = executor(here, Means(watcher=Silent(), parallel=1, engine="stacked"))
    found = search(
        {"alone": (alone(), SPACE)},
        trials=size.trials,
        seeds=range(first, first + size.selecting),
        execute=execute,
        storage=here / "search.db",
        watcher=Silent(),
        batch=8,
    )
    spec = applied(alone(), found["alone"].settings)
    seeds = range(first + size.selecting, first + size.selecting + PAIRS)
    runs = execute({f"alone-{seed}": replace(spec, seed=seed) for seed in seeds}, "")
    wrong_SN = wrong_rows({seed: runs[f"alone-{seed}"] for seed in seeds})
    shutil.rmtree(here)
    return wrong_SN


def rate(count: int, of: int) -> Mapping[str, Any]:
    """A share with its Clopper-Pearson interval, 95 % on two sides."""
    interval = stats.binomtest(count, of).proportion_ci(method="exact")
    return {"count": count, "of": of, "share": count / of, "interval": [float(interval.low), float(interval.high)]}


if __name__ == "__main__":
    torch.set_num_threads(1)
    tyro.cli(main)
