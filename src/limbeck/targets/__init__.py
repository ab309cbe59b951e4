"""Floor 2. Soft targets as files: recorded once or imported, and replayed."""

from limbeck.targets.manifest import Manifest
from limbeck.targets.open import open_store, open_targets
from limbeck.targets.plan import PartPlan, Plan, Shard, default_shard_rows
from limbeck.targets.store import Targets
from limbeck.targets.teacher import RecordedTeacher
from limbeck.targets.verify import verify
from limbeck.targets.writer import Recording

__all__ = [
    "Manifest",
    "PartPlan",
    "Plan",
    "RecordedTeacher",
    "Recording",
    "Shard",
    "Targets",
    "default_shard_rows",
    "open_store",
    "open_targets",
    "verify",
]
