"""Many specifications into many folders, as stacks or side by side; what is finished is not run again."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from limbeck.campaigns.engine import Engine, Estimate, Way, cheapest, estimated
from limbeck.errors import ArgumentError, CannotStack
from limbeck.models import architecture
from limbeck.references import called
from limbeck.specification import Distillation, Json, from_json, require_importable
from limbeck.training.checkpoint import newest
from limbeck.training.distill import distill, finished
from limbeck.training.progress import Silent, Watcher
from limbeck.training.randomness import seeded
from limbeck.training.run import Run
from limbeck.training.runner import Backend, cores, run_all
from limbeck.training.stacking.distill import Job, Shared, distill_stacked
from limbeck.training.stacking.reasons import encoded, stack_key, why_not_stacked

LARGEST = 2**26
"""Most weights of all students of a stack together; more students make several stacks, one after the other."""


def run_specifications(
    specs: Mapping[str, Distillation],
    folder: Path,
    *,
    watcher: Watcher,
    what: str,
    parallel: int | None = None,
    backend: Backend = "loky",
    engine: Engine = "auto",
) -> dict[str, Run]:
    """Run each specification into `folder/NAME` and return the runs by name.

    A finished run of the same specification is taken as it is; one that left a checkpoint is gone on with; any other is
    begun anew. Teachers that must be trained are shared, in `folder/teachers`. Runs apart are on the CPU, a stack in
    this process where its specifications say.

    Args:
        specs: the runs by name.
        folder: where they go.
        watcher: is told how far it has come, which way is taken, and why.
        what: the name of this work, for people.
        parallel: how many processes at most; None for one per core.
        backend: who runs processes side by side: loky on this machine, ray on a cluster.
        engine: stacked for as few stacks as there can be, in this process; apart for each run by itself; auto for the
            way that a trial of a few steps finds quickest (`campaigns.engine`). What cannot be stacked goes apart, and
            the watcher is told why.

    Raises: NotImportable for a specification that another process could not rebuild; what a run raises; Interrupted.
    """
    if engine not in get_args(Engine):
        raise ArgumentError(f"run_specifications: engine must be auto, stacked or apart. Got {engine!r}.")
    found = Shared()
    jobs = [(spec, folder / name) for name, spec in specs.items()]
    left = [(spec, out) for spec, out in jobs if not _is_finished(spec, out, found)]
    tasks = {out: require_importable(spec) for spec, out in left}
    apart = left if engine == "apart" else _stacked(left, tasks, engine, watcher, what, parallel, backend, found)
    if apart:
        each = [{"encoded": tasks[out], "out": str(out)} for _, out in apart]
        run_all(_run_apart, each, watcher=watcher, what=what, parallel=parallel, backend=backend)
    return {name: Run(folder / name) for name in specs}


def _is_finished(spec: Distillation, out: Path, found: Shared) -> bool:
    return Run(out).finished and finished(spec, out, found.splits(spec)) is not None


def _stacked(
    jobs: Sequence[Job],
    tasks: Mapping[Path, Json],
    engine: Engine,
    watcher: Watcher,
    what: str,
    parallel: int | None,
    backend: Backend,
    found: Shared,
) -> list[Job]:
    """Run what is quicker as a stack, and return what is to be run apart."""
    workers = parallel or cores()
    groups, apart = _groups(jobs, watcher)
    for group in groups:
        try:
            way: Way = "here"
            if engine == "auto":
                estimate = estimated(group, found, workers, watcher)
                way = cheapest(estimate, backend)
                watcher.say(_sentence(way, estimate))
            if way == "here":
                distill_stacked(group, resume=True, watcher=watcher, found=found)
            elif way == "shares":
                run_in_shares(group, tasks, watcher, what, workers, backend)
            else:
                apart += group
        except CannotStack as error:
            watcher.say(_fall_back(len(group), str(error)))
            apart += [(spec, out) for spec, out in group if not Run(out).finished]
    order = {out: number for number, (_, out) in enumerate(jobs)}
    return sorted(apart, key=lambda job: order[job[1]])


def _groups(jobs: Sequence[Job], watcher: Watcher) -> tuple[list[list[Job]], list[Job]]:
    """Put together what may share a stack; the rest goes apart, and the watcher is told why."""
    groups: dict[str, list[Job]] = {}
    refused: dict[str, int] = {}
    apart: list[Job] = []
    built: dict[str, tuple[str, int]] = {}
    for spec, out in jobs:
        reason = why_not_stacked([spec])
        if reason is not None:
            refused[reason] = refused.get(reason, 0) + 1
        if reason is not None or newest(out / "checkpoints", "last") is not None:
            apart.append((spec, out))
            continue
        network, weights = _network(spec, built)
        most = max(1, LARGEST // max(weights, 1))
        known = groups.setdefault(f"{stack_key(spec)}\n{network}", [])
        known.append((spec, out))
        if len(known) == most:  # full: those to come make another
            groups[f"{len(groups)} full"] = groups.pop(f"{stack_key(spec)}\n{network}")
    if len(jobs) > 1:  # a single run is not missing anything
        for reason, count in refused.items():
            watcher.say(_fall_back(count, reason))
    stacks = [group for group in groups.values() if len(group) > 1]
    return stacks, apart + [job for group in groups.values() if len(group) == 1 for job in group]


def _network(spec: Distillation, built: dict[str, tuple[str, int]]) -> tuple[str, int]:
    """Describe the student that a factory builds, and count its weights; each factory is called once."""
    key = encoded(spec.student)
    if key not in built:
        with seeded(spec.seed):
            student = called("The student's factory", spec.student)
        try:
            built[key] = architecture(student), sum(weight.numel() for weight in student.parameters())
        except Exception:  # no module, or one whose shapes only the data will tell: its own run says what is wrong
            built[key] = key, 0
    return built[key]


def _fall_back(count: int, reason: str) -> str:
    what = "1 run is" if count == 1 else f"{count} runs are"
    return f"{what} trained one by one, not as a stack: {reason.removesuffix('.')}."


def _sentence(way: Way, found: Estimate) -> str:
    each = f"one by one in {found.workers} processes" if found.workers > 1 else "one by one"
    names: dict[Way, str] = {"here": "as one stack", "shares": f"as {found.workers} stacks side by side", "apart": each}
    seconds = {"here": found.here, "shares": found.shares, "apart": found.apart}
    tried = (f"{seconds[name]:.1f} {words}" for name, words in names.items() if math.isfinite(seconds[name]))
    return f"{found.count} students are trained {names[way]}. By a quick trial, in seconds: {', '.join(tried)}."


def run_in_shares(
    group: Sequence[Job], tasks: Mapping[Path, Json], watcher: Watcher, what: str, workers: int, backend: Backend
) -> None:
    """Train a stack's share in each of several processes."""
    size = -(-len(group) // workers)
    shares = [group[first : first + size] for first in range(0, len(group), size)]
    given: list[dict[str, Any]] = [
        {"encoded": [tasks[out] for _, out in share], "outs": [str(out) for _, out in share]} for share in shares
    ]
    reasons = run_all(_run_share, given, watcher=watcher, what=what, parallel=workers, backend=backend)
    for share, reason in zip(shares, reasons, strict=True):
        if reason is not None:
            watcher.say(_fall_back(len(share), reason))


def _run_share(encoded: list[Json], outs: list[str]) -> str | None:
    """Train a share as one stack, or one by one; returns why it was not a stack."""
    jobs = [(_on_cpu(one), Path(out)) for one, out in zip(encoded, outs, strict=True)]
    try:
        distill_stacked(jobs, resume=True, watcher=Silent())
    except CannotStack as error:
        for spec, out in jobs:
            distill(spec, out, resume=True, watcher=Silent(), parallel=1)
        return str(error)
    return None


def _run_apart(encoded: Json, out: str) -> str:
    return str(distill(_on_cpu(encoded), out, resume=True, watcher=Silent(), parallel=1).path)


def _on_cpu(encoded: Json) -> Distillation:
    spec: Distillation = from_json(encoded)
    return replace(spec, device="cpu")
