"""Where the students land: how sharp the loss is around them, what lies between them, how alike they are inside.

Everything is measured anew on training and validation rows, in eval mode; the test rows are not touched.

Shape legend, this file:  N rows, C classes or labels, L layers.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean
from typing import Any, TypeAlias, final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.flop_counter import FlopCounterMode

from limbeck.data.order import private_generator
from limbeck.evidence.comparison import ALONE, DISTILLED
from limbeck.evidence.rebuilt import Net, finished, fresh, or_none, rows_and_spec, some_rows
from limbeck.functional.similarity import linear_cka
from limbeck.models import parameter_count
from limbeck.objective import HardLabels
from limbeck.specification import Distillation
from limbeck.training.run import Run
from limbeck.types import Batch, LogitKnowledge, TransferSet

RADII = (0.0, 0.05, 0.1, 0.2, 0.4)
"""How far the weights are moved, in the norm of each filter."""

STEPS = 11
"""Points between two students, both ends included."""

Weights: TypeAlias = Mapping[str, Tensor]
"""Parameters by name."""


@final
@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is looked at: a large student costs much on the CPU, and one seed shows the shape."""

    seeds: int
    """The first so many seeds are averaged."""
    rows: int
    """Training rows, and validation rows, on which losses are measured; at most."""
    directions: int
    """Random directions for the sharpness."""
    compared: int
    """Training rows on which representations are compared; at most."""


EFFORTS = (
    Effort(seeds=4, rows=1024, directions=8, compared=256),
    Effort(seeds=2, rows=512, directions=4, compared=128),
    Effort(seeds=1, rows=512, directions=4, compared=128),
    Effort(seeds=1, rows=256, directions=3, compared=64),
    Effort(seeds=1, rows=128, directions=2, compared=64),
    Effort(seeds=1, rows=64, directions=2, compared=64),
)
"""From the most to the least."""

MOST_OPERATIONS = 2e11
"""Floating-point operations, some ten seconds of one core: the first effort is chosen that takes no more."""


def suited(operations: float, *, statistics: bool) -> Effort:
    """The effort that suits a network, from the operations of its forward pass for one row; the least, if none does.

    >>> suited(3e3, statistics=False).seeds, suited(1e9, statistics=True).rows
    (4, 64)
    """
    passes_per_loss = 2 if statistics else 1
    for effort in EFFORTS:
        losses = 2 * (effort.directions * (len(RADII) - 1) + 1) + STEPS
        if operations * effort.seeds * effort.rows * losses * passes_per_loss <= MOST_OPERATIONS:
            return effort
    return EFFORTS[-1]


def landscape(arms: Mapping[str, Mapping[int, Run]], effort: Effort | None = None) -> dict[str, Any] | None:
    """Look around and between the finished students of the arms `distilled` and `alone`, means over the first seeds.

    `sharpness`: by `radius`, the mean rise of the training loss (cross-entropy with the labels, nats) when the weights
    are moved in a random direction, each filter by radius times its own norm, for each arm (Li et al., Visualizing the
    Loss Landscape of Neural Nets, NeurIPS 2018). `interpolation`: loss in nats and errors in points of the validation
    rows on the straight line from the student alone to the distilled one of the same seed, and the `barrier`: the most
    by which the loss exceeds the line between its ends (Frankle et al., Linear Mode Connectivity, ICML 2020). `cka`:
    likeness of each layer's activations on training rows, of the two arms at one seed, and of the distilled students of
    two seeds beside it (`linear_cka`). `distance`: between parameters, relative to the norm at the start.

    Moved weights make the running statistics of BatchNorm wrong: they are taken anew from the training rows, for every
    point, the unmoved one included (`statistics` says "taken anew"; "none" without such layers).

    Args:
        arms: finished runs by arm and seed; `distilled` is among them.
        effort: how much is looked at; None for what suits what a forward pass of the student takes.

    Returns: the parts, each None where shapes, labels, rows or arms are missing; None as a whole where the runs cannot
    be brought back as they were.
    """
    taught = arms[DISTILLED]
    first = next(iter(sorted(taught)))
    found, probe = rows_and_spec(taught[first]), or_none(lambda: finished(taught[first]))
    if found is None or probe is None:
        return None
    splits, spec = found
    effort = effort or or_none(lambda: _suited(probe, splits.train, spec)) or EFFORTS[-1]
    pairs = or_none(lambda: [_pair(arms, seed) for seed in sorted(taught)[: effort.seeds]])
    if pairs is None:
        return None
    nets = [net for pair in pairs for net in pair.nets.values()]
    train = or_none(lambda: some_rows(splits.train, effort.rows, nets, spec))
    if train is None:
        return None
    held_out = splits.validation
    validation = None if held_out is None else or_none(lambda: some_rows(held_out, effort.rows, nets, spec))
    few = or_none(lambda: some_rows(splits.train, effort.compared, nets, spec))
    return {
        "sharpness": _sharpness(pairs, train, effort.directions),
        "interpolation": _interpolation(pairs, train, validation),
        "cka": None if few is None else _likeness(pairs, few),
        "distance": _distances(pairs),
        "seeds": [pair.seed for pair in pairs],
        "statistics": "taken anew" if any(_with_statistics(net.module) for net in nets) else "none",
    }


def _suited(net: Net, rows: TransferSet, spec: Distillation) -> Effort:
    few = some_rows(rows, 8, [net], spec)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        net.logits(few)
    # What torch does not count, recurrent layers above all, takes at least a multiplication for each parameter.
    operations = max(counter.get_total_flops() / len(few), 2 * parameter_count(net.module))
    return suited(operations, statistics=bool(_with_statistics(net.module)))


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Pair:
    """The students of one seed."""

    seed: int
    nets: Mapping[str, Net]
    """By arm: distilled, and alone where there is such a run."""
    starts: Mapping[str, Net]
    """The same before their first step."""


def _pair(arms: Mapping[str, Mapping[int, Run]], seed: int) -> _Pair:
    runs = {arm: arms[arm][seed] for arm in (DISTILLED, ALONE) if seed in arms.get(arm, {})}
    starts = {arm: fresh(run) for arm, run in runs.items()}
    return _Pair(seed=seed, nets={arm: finished(run) for arm, run in runs.items()}, starts=starts)


# Sharpness


def _sharpness(pairs: Sequence[_Pair], train: Batch, directions: int) -> dict[str, list[float | None]] | None:
    if train.labels is None:
        return None
    found: dict[str, list[float | None]] = {"radius": list(RADII)}
    for arm in _common(pairs):
        rises = [loss_rises(pair.nets[arm], train, RADII, directions) for pair in pairs]
        found[arm] = [_finite(mean(values)) for values in zip(*rises, strict=True)]
    return found


def loss_rises(net: Net, batch: Batch, radii: Sequence[float], directions: int) -> list[float]:
    """Mean rise of the loss at each radius over seeded random directions, the same for every network of one shape."""
    with _moving(net) as move:
        start = {name: parameter.detach().clone() for name, parameter in net.module.named_parameters()}
        base = _loss_at(net, move, start, batch, batch)
        rises = []
        for number in range(directions):
            direction = filter_normalised(start, number)
            points = ({name: start[name] + radius * direction[name] for name in start} for radius in radii if radius)
            rises.append([_loss_at(net, move, point, batch, batch) - base for point in points])
    moved = iter([mean(values) for values in zip(*rises, strict=True)])
    return [next(moved) if radius else 0.0 for radius in radii]


def filter_normalised(weights: Weights, number: int) -> dict[str, Tensor]:
    """A random direction in which each filter (the first axis of a weight) has the norm that it has in the weights.

    Biases and the scales of normalising layers stand still: tensors of fewer than two axes get zeros. Networks that
    compute the same with other scales, as ReLU networks do, then move as far (Li et al. 2018, section 4).
    """
    generator = private_generator(number, "direction")
    found = {}
    for name, weight in weights.items():
        if weight.ndim < 2:
            found[name] = torch.zeros_like(weight)
            continue
        noise = torch.randn(weight.shape, generator=generator).to(weight.dtype).flatten(1)
        scale = weight.flatten(1).norm(dim=1, keepdim=True) / noise.norm(dim=1, keepdim=True).clamp_min(1e-30)
        found[name] = (noise * scale).view_as(weight)
    return found


# Between two students


def _interpolation(pairs: Sequence[_Pair], train: Batch, validation: Batch | None) -> dict[str, Any] | None:
    if validation is None or validation.labels is None or not _both(pairs):
        return None
    if not all(_same_shapes(_weights(pair.nets[ALONE]), _weights(pair.nets[DISTILLED])) for pair in pairs):
        return None
    alphas = [step / (STEPS - 1) for step in range(STEPS)]
    lines = [line(pair.nets[ALONE], pair.nets[DISTILLED], alphas, train, validation) for pair in pairs]
    losses, errors = ([mean(values) for values in zip(*part, strict=True)] for part in zip(*lines, strict=True))
    return {
        "alpha": alphas,
        "loss": [_finite(value) for value in losses],
        "errors": errors,
        "between": [ALONE, DISTILLED],
        "barrier": _finite(mean(barrier(alphas, found) for found, _ in lines)),
    }


def line(
    start: Net, stop: Net, alphas: Sequence[float], train: Batch, validation: Batch
) -> tuple[list[float], list[float]]:
    """Loss in nats and errors in points of the validation rows at (1 - alpha) · start + alpha · stop."""
    losses, errors = [], []
    begin, end = _weights(start), {name: tensor.clone() for name, tensor in _weights(stop).items()}
    with _moving(stop) as move:
        for alpha in alphas:
            point = {name: torch.lerp(begin[name], end[name], alpha) for name in end}
            losses.append(_loss_at(stop, move, point, train, validation))
            errors.append(_errors(stop, validation))
    return losses, errors


def barrier(alphas: Sequence[float], losses: Sequence[float]) -> float:
    """The most by which the losses exceed the straight line between the first and the last; at least 0.

    >>> barrier([0.0, 0.5, 1.0], [1.0, 5.0, 3.0])
    3.0
    """
    chord = [(1 - alpha) * losses[0] + alpha * losses[-1] for alpha in alphas]
    return max(0.0, *(loss - straight for loss, straight in zip(losses, chord, strict=True)))


# Inside


def _likeness(pairs: Sequence[_Pair], batch: Batch) -> dict[str, Any] | None:
    if not _both(pairs):
        return None
    inside = {arm: [activations(pair.nets[arm], batch) for pair in pairs] for arm in (DISTILLED, ALONE)}
    layers = [name for name in inside[DISTILLED][0] if all(name in found for row in inside.values() for found in row)]
    if not layers:
        return None
    taught = inside[DISTILLED]

    def alike(couples: Sequence[tuple[Mapping[str, Tensor], Mapping[str, Tensor]]]) -> list[float | None]:
        return [_finite(mean(float(linear_cka(a[name], b[name])) for a, b in couples)) for name in layers]

    return {
        "layers": [name or type(pairs[0].nets[DISTILLED].module).__name__ for name in layers],
        "distilled·alone": alike(list(zip(taught, inside[ALONE], strict=True))),
        "distilled·distilled": alike(list(pairwise(taught))) if len(taught) > 1 else None,
    }


_SILENT = (nn.Identity, nn.Flatten, _DropoutNd)
"""Layers that change nothing in eval mode, or only the shape."""


@torch.no_grad()
def activations(net: Net, batch: Batch) -> dict[str, Tensor]:
    """What the layers without layers of their own give, by name, rows first: (N, everything else).

    Layers that are not called, or whose output is no tensor with a row for each of the batch, are left out; of a layer
    that is called twice, the last output counts.
    """
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.is_floating_point() and output.shape[:1] == (len(batch),):
                # A copy: the next layer may write over what it is given.
                found[name] = output.clone().flatten(1) if output.ndim > 1 else output.clone().unsqueeze(1)

        return hook

    leaves = {name: module for name, module in net.module.named_modules() if not any(module.children())}
    handles = [m.register_forward_hook(keep(name)) for name, m in leaves.items() if not isinstance(m, _SILENT)]
    try:
        net.logits(batch)
    finally:
        for handle in handles:
            handle.remove()
    return {name: found[name] for name in leaves if name in found}  # in the order of the network, not of the calls


def _distances(pairs: Sequence[_Pair]) -> dict[str, float | None] | None:
    if not _both(pairs):
        return None
    found: list[dict[str, float]] = []
    for pair in pairs:
        ends = {arm: _weights(pair.nets[arm]) for arm in (DISTILLED, ALONE)}
        starts = {arm: _weights(pair.starts[arm]) for arm in (DISTILLED, ALONE)}
        if not _same_shapes(*ends.values(), *starts.values()):
            return None
        size = _norm(starts[DISTILLED])
        if not size:
            return None
        found.append(
            {
                "distilled·alone": _apart(ends[DISTILLED], ends[ALONE]) / size,
                "start·distilled": _apart(starts[DISTILLED], ends[DISTILLED]) / size,
                "start·alone": _apart(starts[ALONE], ends[ALONE]) / size,
            }
        )
    return {name: _finite(mean(one[name] for one in found)) for name in found[0]}


# Weights and losses


def _common(pairs: Sequence[_Pair]) -> list[str]:
    return [arm for arm in (DISTILLED, ALONE) if all(arm in pair.nets for pair in pairs)]


def _both(pairs: Sequence[_Pair]) -> bool:
    return len(_common(pairs)) == 2


def _weights(net: Net) -> dict[str, Tensor]:
    return {name: parameter.detach() for name, parameter in net.module.named_parameters()}


def _same_shapes(*weights: Weights) -> bool:
    first, *others = ({name: tensor.shape for name, tensor in one.items()} for one in weights)
    return all(other == first for other in others)


def _norm(weights: Weights) -> float:
    return math.sqrt(sum(float(tensor.double().square().sum()) for tensor in weights.values()))


def _apart(first: Weights, second: Weights) -> float:
    return _norm({name: first[name].double() - second[name].double() for name in first})


@contextmanager
def _moving(net: Net) -> Iterator[Callable[[Weights], None]]:
    """Yield a function that gives the network other weights; at the end it is what it was, buffers included."""
    before = copy.deepcopy(net.module.state_dict())

    @torch.no_grad()
    def move(weights: Weights) -> None:
        for name, parameter in net.module.named_parameters():
            parameter.copy_(weights[name])

    try:
        yield move
    finally:
        net.module.load_state_dict(before)


@torch.no_grad()
def _loss_at(net: Net, move: Callable[[Weights], None], weights: Weights, train: Batch, batch: Batch) -> float:
    move(weights)
    _take_statistics(net, train)
    student = LogitKnowledge(net.logits(batch), net.head)
    return float(HardLabels()(student, None, batch.labels, 0).double().mean())


@torch.no_grad()
def _errors(net: Net, batch: Batch) -> float:
    """Points; a row of a sigmoid head is wrong if any of its label decisions is."""
    assert batch.labels is not None  # the caller has looked
    logits = net.logits(batch)
    if batch.labels.ndim == 1:
        wrong = logits.argmax(-1) != batch.labels
    else:
        wrong = ((logits > 0) != (batch.labels > 0.5)).any(-1)
    return 100 * float(wrong.double().mean())


def _with_statistics(module: nn.Module) -> list[_BatchNorm]:
    return [part for part in module.modules() if isinstance(part, _BatchNorm) and part.track_running_stats]


def _take_statistics(net: Net, train: Batch) -> None:
    """Let BatchNorm see the training rows with the weights as they now are; everything else stays in eval mode."""
    norms = _with_statistics(net.module)
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over what is seen, not a moving one
        norm.train()
    net.logits(train)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
