"""What was chosen for each row of MNIST's section, on the 10,000 training rows that development holds out.

One record a row, of plain numbers: it goes into the table beside what came out.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self, final

from limbeck.errors import ArgumentError
from limbeck.specification import Json


@final
@dataclass(frozen=True, kw_only=True)
class Settings:
    """How one network is trained: two equal layers, or a small convolutional network."""

    units: int = 800
    """Units of each hidden layer."""
    convolutional: bool = False
    """Two layers of convolutions and one of `units`, in place of two layers of `units`."""
    epochs: int = 30
    """Passes over the rows."""
    batch_size: int = 128
    """Rows of a step."""
    rate: float = 1e-3
    """Peak learning rate of AdamW, reached after a twentieth of the steps and lowered to zero in a cosine."""
    weight_decay: float = 0.0
    """Of AdamW."""
    standardised: bool = False
    """Inputs have the mean 0 and the standard deviation 1 over all pixels, instead of lying in [0, 1]."""
    input_dropout: float = 0.0
    """Probability of an input to be dropped."""
    dropout: float = 0.0
    """Probability of a hidden unit to be dropped."""
    max_norm: float | None = None
    """Largest norm of a hidden unit's incoming weights."""
    smoothing: float = 0.0
    """Of the labels."""
    hard: float = 1.0
    """Weight of the cross-entropy with the labels."""
    soft: float = 0.0
    """Weight of the soft targets."""
    temperature: float = 20.0
    """Of the soft targets."""
    matching: float = 0.0
    """Weight of logit matching."""
    edited: float = 0.0
    """Weight of the labels edited into the soft targets; with `soft` the weight of that one term."""
    jitter: int = 0
    """Images are moved by up to so many pixels, anew in each view."""
    elastic: float = 0.0
    """Standard deviation, in pixels, of an elastic distortion, anew in each view."""
    rotation: float = 0.0
    """Images are turned by up to so many degrees, in each view of an elastic distortion."""
    scaling: float = 0.0
    """Images are stretched by up to this share, in each view of an elastic distortion."""
    plain: float = 0.0
    """Share of the images that are left as they are, in each view of an elastic distortion."""
    views: int | None = None
    """How many views there are; None for a new one each epoch."""

    @property
    def has_teacher(self) -> bool:
        """Whether anything is asked of it that needs one."""
        return bool(self.soft or self.matching or self.edited)

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """Return the settings with others in place of some.

        Raises: ArgumentError for a name that is none of them, or a value of another kind than the field's.
        """
        kinds = {field.name: getattr(field.type, "__name__", str(field.type)) for field in fields(self)}
        for name, value in changes.items():
            if name not in kinds:
                raise ArgumentError(f"There is no setting {name!r}; there are: {', '.join(kinds)}.")
            if not _fits(value, kinds[name]):
                raise ArgumentError(f"The setting {name} takes {kinds[name]}. Got {value!r}.")
        return replace(self, **changes)

    def told(self) -> dict[str, Json]:
        """The settings that are in use, as they stand in the table."""
        always = ("units", "epochs", "batch_size", "rate", *(("temperature",) if self.soft else ()))
        unused = Settings(hard=0.0)
        fields = asdict(self)
        return {name: fields[name] for name in fields if name in always or fields[name] != getattr(unused, name)}


def _fits(value: Any, kind: str) -> bool:
    """Whether a value is of the kind that a field's annotation names; a whole number is a float, too."""
    if value is None:
        return kind.endswith("None")
    if isinstance(value, bool) or kind == "bool":
        return isinstance(value, bool) and kind == "bool"
    return isinstance(value, int) or (isinstance(value, float) and kind.startswith("float"))
