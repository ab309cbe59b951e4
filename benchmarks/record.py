"""What a stranger needs to repeat a measurement: the command, the commit, versions and the machine."""

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from limbeck.campaigns.pieces import machine as computes
from limbeck.files import write_json

LIBRARIES = ("torch", "accelerate", "transformers", "numpy")
ROOT = Path(__file__).resolve().parent.parent


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


# Asked when this file is imported: by the end of a long measurement the files may be others than those that ran, and
# the load is this measurement's own.
STATE = {
    "commit": _git("rev-parse", "HEAD"),
    "changed_since": bool(_git("status", "--porcelain", "--untracked-files=no", "--", "src", "benchmarks")),
    "load_before": os.getloadavg()[0],
}


def write_record(path: Path, seeds: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Write what was found, after everything around it."""
    surroundings = {
        "command": command(sys.argv),
        **STATE,
        "seeds": dict(seeds),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        "machine": machine(),
    }
    write_json(path, {**surroundings, **found})


def command(arguments: Sequence[str]) -> str:
    """The command line, with the last part of each absolute path: where a person keeps data is no part of a result."""
    script, *options = arguments
    shown = [Path(option).name if Path(option).is_absolute() else option for option in options]
    return shlex.join(["python", f"benchmarks/{Path(script).name}", *shown])


def machine() -> dict[str, Any]:
    """The processor, and how much of it torch uses."""
    return {**computes(), "threads": torch.get_num_threads()}
