"""`limbeck demo`: ten small networks teach a much smaller one on real bundled digits, and a verdict says what it was worth."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from limbeck.campaigns.members import score_teachers, seconds_per_row, sizes, trained_members
from limbeck.campaigns.trial import run_trial
from limbeck.cli.flags import call_with_flags
from limbeck.cli.show import show_trial
from limbeck.errors import RunError, SpecificationError
from limbeck.evidence.trial import facts_of_trial, summary_of_trial
from limbeck.files import write_json
from limbeck.training.progress import watcher
from limbeck_recipes.digits import trial
