"""Limbeck: knowledge distillation on PyTorch, with the proof that the teaching helped.

    from limbeck import Distillation, HardLabels, SoftTargets, distill, load_student

Names are imported when they are first used, so that the command line can answer before torch is loaded.
"""

import importlib
from typing import Any

from limbeck._version import __version__

_WHERE = {
    "Batch": "limbeck.types",
    "Campaign": "limbeck.campaigns.plan",
    "ClassBias": "limbeck.training.class_bias",
    "Comparison": "limbeck.evidence.comparison",
    "Corrected": "limbeck.training.correction",
    "Cosine": "limbeck.schedules",
    "Dense": "limbeck.types",
    "Distillation": "limbeck.specification",
    "Ensemble": "limbeck.teachers.ensemble",
    "EnsembleOf": "limbeck.specification",
    "Form": "limbeck.training.forms",
    "FrozenTeacher": "limbeck.teachers.frozen",
    "HardLabels": "limbeck.objective",
    "Knowledge": "limbeck.types",
    "LimbeckError": "limbeck.errors",
    "Linear": "limbeck.schedules",
    "LogitKnowledge": "limbeck.types",
    "LogitMatching": "limbeck.objective",
    "Loss": "limbeck.objective",
    "MapStyleSet": "limbeck.data.mapstyle",
    "Means": "limbeck.campaigns.means",
    "Objective": "limbeck.objective",
    "ObjectiveValue": "limbeck.objective",
    "PairedDifference": "limbeck.evidence.statistics",
    "Question": "limbeck.evidence.question",
    "RecordedTeacher": "limbeck.targets.teacher",
    "Rows": "limbeck.types",
    "Run": "limbeck.training.run",
    "Sampled": "limbeck.types",
    "SoftTargets": "limbeck.objective",
    "Splits": "limbeck.data.splits",
    "Targets": "limbeck.targets.store",
    "Teacher": "limbeck.types",
    "TensorSet": "limbeck.data.tensors",
    "Term": "limbeck.objective",
    "TopK": "limbeck.types",
    "TransferSet": "limbeck.types",
    "correct_class_bias": "limbeck.training.correction",
    "distill": "limbeck.training.distill",
    "facts_of_comparison": "limbeck.evidence.campaign",
    "hub": "limbeck.data.hub",
    "load_student": "limbeck.training.rebuild",
    "paired_difference": "limbeck.evidence.statistics",
    "record": "limbeck.training.recording",
    "run_campaign": "limbeck.campaigns.campaign",
    "table": "limbeck.data.tables",
    "verdict": "limbeck.evidence.verdict",
    "with_class_bias": "limbeck.training.class_bias",
}

__all__ = ["__version__", *_WHERE, "data", "functional", "load_data"]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in ("data", "functional"):
        return importlib.import_module(f"limbeck.{name}")
    if name == "load_data":
        return importlib.import_module("limbeck.data.open").load
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'limbeck' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
