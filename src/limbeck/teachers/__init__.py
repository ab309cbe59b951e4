"""Floor 2. What can answer a batch: a frozen module, an ensemble."""

from limbeck.teachers.ensemble import Ensemble
from limbeck.teachers.frozen import FrozenTeacher

__all__ = ["Ensemble", "FrozenTeacher"]
