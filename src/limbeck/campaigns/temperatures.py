"""The temperature raised step by step until it stops paying: how the paper went about it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import final

from limbeck.campaigns.search import Execute, mean_validation
from limbeck.campaigns.settings import applied
from limbeck.campaigns.space import Choice, answerable, check_space
from limbeck.data.splits import without_test
from limbeck.errors import ArgumentError, SpecificationError
from limbeck.specification import Distillation, Json, check_whole
from limbeck.training.progress import Watcher

LADDER = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Temperatures that are tried in turn; high ones come to matching logits (Hinton et al. 2015, section 2.1)."""
PATIENCE = 2
"""Rungs in a row that may fail to pay: one alone may be the chance of a seed."""


@final
@dataclass(frozen=True, kw_only=True)
class Rung:
    """A temperature that was tried."""

    temperature: float
    """Of every soft term."""
    validation: float
    """Mean error over the seeds on the validation rows, in points."""
    nll: float
    """Mean over the same of the nats per row, at temperature 1."""


@final
@dataclass(frozen=True, kw_only=True)
class Raised:
    """The rungs that were climbed, and the best of them."""

    curve: Sequence[Rung]
    """In rising order, to the last that was tried."""
    temperature: float
    """The chosen one: fewest validation errors, of equal ones the fewest nats, then the lowest."""
    left: Sequence[float]
    """Rungs that were not tried, because it had stopped paying."""

    def as_json(self) -> dict[str, Json]:
        """Encode for the record of a search."""
        rungs = [{"temperature": r.temperature, "validation": r.validation, "nll": r.nll} for r in self.curve]
        return {"curve": rungs, "chosen": self.temperature, "left": list(self.left)}


def raise_temperature(
    spec: Distillation,
    *,
    seeds: Sequence[int],
    execute: Execute,
    watcher: Watcher,
    ladder: Sequence[float] | None = None,
    patience: int = PATIENCE,
) -> Raised:
    """Train at rising temperatures until `patience` of them in a row were no better than the best so far.

    Better is a lower mean error on the validation rows, or an equal one with fewer nats. All else stays as the
    specification says. No run has the test rows.

    Args:
        spec: with recorded targets, so that the teacher does not run at each rung.
        seeds: each rung is trained with all of these.
        execute: runs specifications; what is finished is not run again, so that a climb that was stopped goes on.
        watcher: is told what each rung came to.
        ladder: rising temperatures; `LADDER` if None, or those that the recorded targets answer where these are few.
        patience: >= 1.

    Raises: ArgumentError for a ladder that does not rise; SpecificationError or MismatchError for temperatures that the
        specification or its targets cannot take; what a run raises; Interrupted.
    Reference: Hinton et al., Distilling the Knowledge in a Neural Network, 2015, section 1: "to raise the temperature
        of the final softmax until the cumbersome model produces a suitably soft set of targets".
    """
    check_whole("raise_temperature", 1, patience=patience)
    rungs = tuple(map(float, ladder if ladder is not None else answerable(spec) or LADDER))
    if not rungs or list(rungs) != sorted(set(rungs)):
        raise ArgumentError(f"raise_temperature: ladder must rise from rung to rung. Got {list(rungs)}.")
    if spec.validation is None:
        raise SpecificationError("A temperature is chosen on validation rows, which validation=None leaves out.")
    check_space(spec, {"temperature": Choice(rungs)})
    curve: list[Rung] = []
    for temperature in rungs:
        curve.append(_rung(spec, temperature, seeds, execute))
        watcher.say(f"T = {temperature:g}: {curve[-1].validation:.2f} % wrong on the validation rows")
        if len(curve) - 1 - curve.index(_best(curve)) >= patience:
            break
    return Raised(curve=curve, temperature=_best(curve).temperature, left=rungs[len(curve) :])


def _best(curve: Sequence[Rung]) -> Rung:
    return min(curve, key=lambda rung: (rung.validation, rung.nll, rung.temperature))


def _rung(spec: Distillation, temperature: float, seeds: Sequence[int], execute: Execute) -> Rung:
    tried = applied(spec, {"temperature": temperature})
    blind = replace(tried, data=partial(without_test, tried.data), probe_rows=0)
    specs = {f"temperature-{temperature:g}-{seed}": replace(blind, seed=seed) for seed in seeds}
    runs = execute(specs, f"training at T = {temperature:g}")
    validation, nll = mean_validation([runs[name] for name in specs])
    return Rung(temperature=temperature, validation=validation, nll=nll)
