"""Floor 2. Transfer sets: rows with ids, labels or none; bundled, file, folder and hub loaders."""

from limbeck.data.augment import Compose, HorizontalFlip, Mask, Noise, RandomApply, RandomCrop, Shift
from limbeck.data.digits import digits
from limbeck.data.elastic import Elastic
from limbeck.data.hub import hub
from limbeck.data.idx import idx
from limbeck.data.loader import Loader
from limbeck.data.mapstyle import MapStyleSet
from limbeck.data.open import load
from limbeck.data.order import epoch_order, mixed_seed, share
from limbeck.data.prepare import plain_features
from limbeck.data.splits import Splits, hold_out, stratified_sample
from limbeck.data.tables import table
from limbeck.data.tensors import TensorSet
from limbeck.data.views import require_deterministic

__all__ = [
    "Compose",
    "Elastic",
    "HorizontalFlip",
    "Loader",
    "MapStyleSet",
    "Mask",
    "Noise",
    "RandomApply",
    "RandomCrop",
    "Shift",
    "Splits",
    "TensorSet",
    "digits",
    "epoch_order",
    "hold_out",
    "hub",
    "idx",
    "load",
    "mixed_seed",
    "plain_features",
    "require_deterministic",
    "share",
    "stratified_sample",
    "table",
]
