"""Two families of comparison: rivals, what a user would do instead, and ablations, which replace one thing and explain.

They are never mixed. A rival is tuned like the distilled student, and may enter a verdict; an ablation inherits every
setting of the distilled student, and says only what its gain is made of.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, final

from limbeck.campaigns.space import Space
from limbeck.errors import SpecificationError
from limbeck.specification import Distillation, Json
from limbeck.targets.open import open_store
from limbeck.targets.remote import is_address

Kind: TypeAlias = Literal["distilled", "rival", "ablation"]
"""What an arm is for."""

DISTILLED = "distilled"
"""The arm that everything is compared with."""

ALONE = "alone"
"""The rival of the primary contrast: the student on labels alone, tuned."""

SMOOTHED, PSEUDO_LABELS, WARM_START = "smoothed", "pseudo-labels", "warm-start"
LONGER, LONGER_WITH_TEACHER = "longer", "longer-with-teacher"

RIVALS = (ALONE, SMOOTHED, PSEUDO_LABELS, WARM_START, LONGER, LONGER_WITH_TEACHER)
"""What a user would do instead."""

HARD_LABELS, MATCHED_SMOOTHING, TEACHER_LABELS = "hard-labels", "matched-smoothing", "teacher-labels"
PERMUTED, SHUFFLED, EDITED, SELF_DISTILLED = "permuted", "shuffled", "edited", "self-distilled"

ABLATIONS = (HARD_LABELS, MATCHED_SMOOTHING, TEACHER_LABELS, PERMUTED, SHUFFLED, EDITED, SELF_DISTILLED)
"""The distilled student with one thing replaced."""

CONTROLS = (*RIVALS, *ABLATIONS)
"""Both families."""


class LeftOut(Exception):
    """Why an arm cannot be run, in words without a capital or a full stop; it never leaves the room of campaigns."""


@final
@dataclass(frozen=True, kw_only=True)
class Arm:
    """One of the things that are compared over the same seeds."""

    name: str
    """In kebab-case, such as `matched-smoothing`."""
    kind: Kind
    """Whether it is the distilled student, a rival or an ablation."""
    title: str
    """For people: "student alone, tuned"."""
    about: str
    """One sentence: what a user would do instead, or the one thing that is replaced."""
    spec: Distillation
    """What is run; a campaign sets its seed."""
    space: Space | None = None
    """What a search may change; None where settings are inherited and nothing is searched."""
    notes: Mapping[str, Json] = field(default_factory=dict)
    """Numbers that belong to the comparison: `smoothing`, `epochs_cap`, `compute`."""


def sentence(why: Exception) -> str:
    """Return what was said as a sentence, for a reader.

    >>> sentence(LeftOut("the rows have no labels"))
    'The rows have no labels.'
    """
    said = str(why)
    return f"{said[:1].upper()}{said[1:]}" + ("" if said.endswith(".") else ".")


def views_seen(spec: Distillation) -> int | None:
    """Return how many views of each row a student cycles through, for its rivals to see the same.

    As many as asked for, else as many as its targets hold; None for raw rows alone, or for a new view each epoch.
    """
    if spec.views is not None or spec.augment is None or spec.targets is None:
        return spec.views
    # A file of predictions knows raw rows alone, and needs the data to be read.
    return open_store(spec.targets).manifest.parts["train"].views if _is_store(spec.targets) else 1


def chosen_names(asked: str | Sequence[str], known: Sequence[str] = CONTROLS) -> tuple[str, ...]:
    """Return the names that were asked for, each once, in the order of `known`.

    Args:
        asked: "all", "none", one name, or several.
        known: those that there are.

    Raises: SpecificationError for a name that is not known, with the closest one.

    >>> chosen_names(["permuted", "alone"])
    ('alone', 'permuted')
    """
    if asked in ("all", "none"):
        return tuple(known) if asked == "all" else ()
    names = [asked] if isinstance(asked, str) else list(asked)
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1, cutoff=0)
            meant = f"did you mean {close[0]!r}? There are" if close else "there are"
            raise SpecificationError(f"There is no control named {name!r}; {meant}: {', '.join(known) or 'none'}.")
    return tuple(name for name in known if name in names)


def _is_store(source: Path | str) -> bool:
    """Whether targets are a store, which knows of views, and no file of predictions."""
    return is_address(str(source)) or Path(source).is_dir()
