"""Stores of synthetic teachers, small enough to be made and broken a thousand times: a part of reliability.py."""

import hashlib
import re
from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor, nn

from limbeck.data import TensorSet
from limbeck.data.augment import Noise
from limbeck.data.prepare import plain_features
from limbeck.data.splits import Splits
from limbeck.objective import SoftTargets
from limbeck.specification import Distillation
from limbeck.targets.encodings.dense import DenseLogits
from limbeck.targets.imports.open import from_arrays
from limbeck.targets.manifest import MANIFEST
from limbeck.targets.plan import PartPlan, Plan
from limbeck.targets.store import Targets
from limbeck.teachers import Ensemble, FrozenTeacher
from limbeck.training.forms import Form
from limbeck.training.progress import Silent, Watcher
from limbeck.training.recording import record
from limbeck.types import Teacher

SEED = 0
NUMBERS, CLASSES = 4, 20


def features(rows: int, seed: int = SEED) -> Tensor:
    """(rows, 4)."""
    return torch.randn(rows, NUMBERS, generator=torch.Generator().manual_seed(seed))


def network(seed: int = SEED, classes: int = CLASSES) -> nn.Module:
    """A small network, the same for the same seed."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(NUMBERS, 3), nn.Tanh(), nn.Linear(3, classes))


def specification(rows: int, classes: int = CLASSES) -> Distillation:
    """Rows of four numbers, and a teacher of many classes."""
    return Distillation(
        data=TensorSet(features(rows)),
        student=nn.Identity,
        teacher=network(classes=classes),
        objective=1.0 * SoftTargets(temperature=4.0),
        device="cpu",
    )


def recorded(
    folder: Path,
    *,
    rows: int,
    shard_rows: int,
    form: Form | None = None,
    share: tuple[int, int] | None = None,
    resume: bool = False,
    watcher: Watcher | None = None,
) -> None:
    """Record in shards of two batches."""
    record(
        specification(rows),
        folder,
        form=form,
        batch_size=shard_rows // 2,
        shard_rows=shard_rows,
        share=share,
        resume=resume,
        watcher=watcher or Silent(),
    )


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file; nothing where there is no folder."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def sidecar_of(name: str) -> str | None:
    """The name of the file with a shard's checksum; None for what is no shard."""
    is_shard = re.fullmatch(r"[a-z]+-\d{5}\.safetensors", name)
    return name.replace(".safetensors", ".json") if is_shard else None


def committed(names: Collection[str]) -> list[str]:
    """Of a folder's files the shards that no kill may damage: those with a sidecar, and all where a manifest is."""
    return [name for name in names if (sidecar := sidecar_of(name)) and (MANIFEST in names or sidecar in names)]


def stores_of_every_kind(work: Path) -> dict[str, Path]:
    """One store of each encoding, recorded in three splits, two views and with features; imported; ragged."""
    splits = Splits(train=_rows(70), validation=_rows(19, 1), test=_rows(17, 2))
    mixture = Ensemble([FrozenTeacher(network(seed), prepare=plain_features) for seed in (1, 2)])
    forms: dict[str, tuple[Form, nn.Module | Teacher, tuple[str, ...]]] = {
        "dense": (Form(), network(), ("0",)),
        "members": (Form(encoding="members", dtype="float16"), mixture, ()),
        "top-k": (Form(encoding="top-k", k=5), network(), ()),
        "low-rank": (Form(encoding="low-rank", rank=3), network(), ()),
        "sampled": (Form(encoding="sampled", draws=8), network(), ()),
    }
    for name, (form, teacher, kept) in forms.items():
        spec = Distillation(
            data=splits,
            student=nn.Identity,
            teacher=teacher,
            objective=1.0 * SoftTargets(temperature=4.0),
            augment=Noise(scale=0.1),
            views=2,
            device="cpu",
        )
        record(spec, work / name, form=form, features=kept, batch_size=8, shard_rows=24, watcher=Silent())
    probabilities = features(50).softmax(1)
    from_arrays(range(50), probabilities=probabilities, classes=list("abcd")).save(work / "imported")
    _ragged().save(work / "ragged")
    return {path.name: path for path in sorted(work.iterdir())}


def _rows(count: int, seed: int = SEED) -> TensorSet:
    return TensorSet(features(count, seed), classes=[f"class {number}" for number in range(CLASSES)])


def _ragged() -> Targets:
    lengths = torch.arange(40) % 5
    offsets = torch.cat((torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)))
    plan = Plan(
        head="softmax",
        classes=None,
        width=NUMBERS,
        encoding=DenseLogits(),
        teacher={"fingerprint": None, "specification": None, "kind": "network", "precision": "float32"},
        transform=None,
        marks=(),
        batch_size=8,
        features={},
        parts={"train": PartPlan(torch.arange(40), None, 1, 16)},
        ragged=True,
    )
    packed = features(int(offsets[-1])).view(torch.uint8)
    return Targets.in_memory(plan, {"train": packed}, offsets={"train": offsets})
