"""From a manifest's name and settings to an encoding."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from limbeck.errors import ArgumentError, StoreError
from limbeck.targets.encoding import Encoding
from limbeck.targets.encodings.dense import DenseLogits
from limbeck.targets.encodings.lowrank import LowRank
from limbeck.targets.encodings.members import Members
from limbeck.targets.encodings.sampled import SampledTargets
from limbeck.targets.encodings.topk import TopKLogProbs


def encoding_from(settings: Mapping[str, Any], side: Mapping[str, Tensor] | None = None) -> Encoding:
    """Return the encoding that `Encoding.as_json` describes; `side` are the tensors of `LowRank.side`.

    Raises: StoreError for a name that this version does not know, settings that do not fit it, or a missing basis.
    """
    own: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    name = own.pop("name", None)
    try:
        match name:
            case DenseLogits.name:
                return DenseLogits(**own)
            case Members.name:
                return Members(**own)
            case TopKLogProbs.name:
                return TopKLogProbs(**own)
            case SampledTargets.name:
                return SampledTargets(**own)
            case LowRank.name:
                return _low_rank(side, **own)
    except (ArgumentError, TypeError) as error:
        raise StoreError(f"The settings of the encoding {name!r} in the manifest cannot be: {error}") from error
    raise StoreError(f"The store's encoding is {name!r}, which this version does not know; read it with a newer one.")


def _low_rank(
    side: Mapping[str, Tensor] | None, *, rank: int, temperatures: tuple[float, ...] | None = None
) -> LowRank:
    if side is None or not {"basis", "mean"} <= side.keys():
        raise StoreError("The store's basis is missing, without which its coefficients say nothing; record it again.")
    found = LowRank(side["basis"], side["mean"], temperatures)
    if found.rank != rank:
        raise StoreError(f"The store's basis has {found.rank} components, and its manifest says {rank}: it is damaged.")
    return found
