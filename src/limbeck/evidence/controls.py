"""The distilled student against every control: what explains the gain, and what a user might do instead.

Shape legend, this file:  S seeds, N test rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, final

from numpy.typing import NDArray

from limbeck.evidence.contrast import Contrast, contrast
from limbeck.evidence.resolution import finite
from limbeck.evidence.statistics import mean_and_sd
from limbeck.evidence.words import percent, probability
from limbeck.evidence.wrong import differences_in_points, paired_matrices

Better: TypeAlias = Literal["distilled better", "control better", "cannot tell"]
"""What one contrast shows, at its own level."""


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    """One control against the distilled student; differences are control minus distilled, in points."""

    contrast: Contrast
    """The numbers."""
    p_holm: float
    """The p-value after Holm, over all controls: for whoever picks one out of the ranking."""
    errors: tuple[float, float | None]
    """Mean and standard deviation over seeds of the control's own error rate, in points; one seed has no spread."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Its `kind`, `title` and `about`."""

    @property
    def outcome(self) -> Better:
        """By the exact test at the contrast's own level, the other controls not counted."""
        return _OUTCOMES[self.contrast.side]

    def as_json(self) -> dict[str, Any]:
        """As it stands in facts.json."""
        return {
            **self.labels,
            "mean": self.contrast.mean,
            "interval": [finite(end) for end in self.contrast.interval],
            "p_value": self.contrast.p_value,
            "p_holm": self.p_holm,
            "outcome": self.outcome,
            "errors": {"mean": self.errors[0], "sd": self.errors[1]},
        }


_OUTCOMES: Mapping[int, Better] = {1: "distilled better", -1: "control better", 0: "cannot tell"}


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Explained:
    """Whether any ablation does as well as distillation, which would explain its gain."""

    outcome: Literal["explained by none of the controls", "not shown"]
    """The first only where distillation is shown to be better than every ablation."""
    sentence: str
    """The same for people."""
    p_value: float
    """Of the intersection-union test: the largest of the ablations' p-values, 1 where one of them did no worse."""

    def as_json(self) -> dict[str, Any]:
        """As it stands in facts.json."""
        return {"outcome": self.outcome, "sentence": self.sentence, "p_value": self.p_value}


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Controls:
    """All contrasts with controls, and what they explain."""

    controls: Mapping[str, Control]
    """By name."""
    explained: Explained | None
    """None where there are no ablations."""

    def as_json(self) -> dict[str, Any]:
        """Two sections of facts.json: `controls` and `explained`."""
        return {
            "controls": {name: control.as_json() for name, control in self.controls.items()},
            "explained": None if self.explained is None else self.explained.as_json(),
        }


def controls(
    distilled_wrong: NDArray[Any],
    others: Mapping[str, NDArray[Any]],
    labels: Mapping[str, Mapping[str, str]],
    *,
    level: float = 0.95,
) -> Controls:
    """Compare the distilled student with each control.  (S, N) bool, {name: (S, N) bool} -> record.

    "Explained by none of the controls" is a claim about all ablations at once: distilled is better than each. An
    intersection-union test needs no correction for it: if one ablation is as good, the whole is claimed only where
    that one contrast fails, with a probability of at most its level (Berger 1982). Rivals do not enter. Picking the
    most impressive out of many contrasts is another matter, and Holm's p-values are for that.

    Args:
        distilled_wrong: which test rows each run of the distilled student got wrong.
        others: the same of each control, at the same seeds in the same order, on the same rows.
        labels: of each control `kind` ("rival" or "ablation"), and what else facts are to say of it: title, about.
        level: of each contrast.

    Raises: MismatchError for arms of other rows or other numbers of seeds; ArgumentError for arrays that are not bool.
    References: Berger, Multiparameter hypothesis testing and acceptance sampling, Technometrics 1982; Holm, A simple
    sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 1979.
    """
    alpha = round(1 - level, 12)
    contrasts: dict[str, Contrast] = {}
    rates: dict[str, tuple[float, float | None]] = {}
    for name, wrong in others.items():
        distilled_SN, other_SN = paired_matrices("controls", **{"distilled": distilled_wrong, name: wrong})
        contrasts[name] = contrast(differences_in_points(distilled_SN, other_SN), alpha=alpha)
        mean, sd = mean_and_sd((100 * other_SN.mean(1)).tolist())
        rates[name] = mean, sd if len(other_SN) > 1 else None
    adjusted = holm({name: found.p_value for name, found in contrasts.items()})
    return Controls(
        controls={
            name: Control(contrast=found, p_holm=adjusted[name], errors=rates[name], labels=dict(labels[name]))
            for name, found in contrasts.items()
        },
        explained=_explained(
            {name: found for name, found in contrasts.items() if labels[name]["kind"] == "ablation"}, labels, level
        ),
    )


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return Holm's adjusted p-values, by name."""
    if not p_values:
        return {}
    from statsmodels.stats.multitest import multipletests

    adjusted = multipletests(list(p_values.values()), method="holm")[1]
    return dict(zip(p_values, adjusted.tolist(), strict=True))


def _explained(
    ablations: Mapping[str, Contrast], labels: Mapping[str, Mapping[str, str]], level: float
) -> Explained | None:
    if not ablations:
        return None
    p_value = max(found.p_value if found.mean > 0 else 1.0 for found in ablations.values())
    open_ones = [labels[name].get("title", name) for name, found in ablations.items() if found.side <= 0]
    if not open_ones:
        sentence = (
            f"Explained by none of the {len(ablations)} controls: distilled is better than each of them "
            f"(at {percent(level)} each, largest exact p {probability(p_value)})."
            if len(ablations) > 1
            else f"Not explained by the one control: distilled is better (exact p {probability(p_value)})."
        )
        return Explained(outcome="explained by none of the controls", sentence=sentence, p_value=p_value)
    ruled_out = len(ablations) - len(open_ones)
    sentence = (
        f"Not explained away by {ruled_out or 'none'} of the {len(ablations)} ablations; distilled is not shown to be "
        f"better than {_listed(open_ones)}, which may explain it."
    )
    return Explained(outcome="not shown", sentence=sentence, p_value=p_value)


def _listed(names: list[str]) -> str:
    quoted = [f"“{name}”" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
