"""Floor 2. Transfer sets: rows with ids, labels or none; bundled, file, folder and hub loaders."""

from limbeck.data.digits import digits
from limbeck.data.loader import Loader
from limbeck.data.order import epoch_order, mixed_seed, share
from limbeck.data.prepare import plain_features
from limbeck.data.splits import Splits, hold_out, stratified_sample
from limbeck.data.tensors import TensorSet

__all__ = [
    "Loader",
    "Splits",
    "TensorSet",
    "digits",
    "epoch_order",
    "hold_out",
    "mixed_seed",
    "plain_features",
    "share",
    "stratified_sample",
]
