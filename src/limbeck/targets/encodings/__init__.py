"""Encodings: how a teacher's answers become bytes, each with a stated bound on what that loses."""

from limbeck.targets.encodings.dense import DenseLogits
from limbeck.targets.encodings.lowrank import LowRank, fit_low_rank
from limbeck.targets.encodings.members import Members
from limbeck.targets.encodings.named import encoding_from
from limbeck.targets.encodings.sampled import SampledTargets
from limbeck.targets.encodings.topk import TopKLogProbs

__all__ = [
    "DenseLogits",
    "LowRank",
    "Members",
    "SampledTargets",
    "TopKLogProbs",
    "encoding_from",
    "fit_low_rank",
]
