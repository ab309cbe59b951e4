"""`Targets`: recorded answers, read from a folder as they are asked for, or held in memory.

Shape legend, this file:  N rows of a part, K views, B rows of a batch, W bytes of a packed row, P positions.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self, final

import torch
from torch import Tensor

from limbeck.errors import ArgumentError, MismatchError, StoreError
from limbeck.targets.encoding import Encoding
from limbeck.targets.encodings.dense import DenseLogits
from limbeck.targets.encodings.named import encoding_from
from limbeck.targets.folder import (
    Folder,
    FolderSource,
    LocalFolder,
    require_files,
    require_manifest,
    side_tensors,
)
from limbeck.targets.imports.arrays import predictions
from limbeck.targets.imports.packed import PART, packed_rows, plan_of
from limbeck.targets.layout import Layout
from limbeck.targets.manifest import MANIFEST, Manifest
from limbeck.targets.memory import MemorySource
from limbeck.targets.part import Part
from limbeck.targets.plan import PartPlan, Plan
from limbeck.targets.remote import is_address, remote_folder
from limbeck.targets.tensorfile import mapped_bytes
from limbeck.targets.writer import Recording
from limbeck.types import Knowledge


class Source(Protocol):
    """Where parts are read from."""

    def part(self, name: str) -> Part:
        """Return the rows of one split. Raises: StoreError."""


@final
class Targets:
    """Recorded answers. `Targets.open` reads a folder; `Targets.in_memory` takes them from memory.

    A copy in another process opens the folder again; those that are forked share what is mapped.
    """

    def __init__(self, manifest: Manifest, encoding: Encoding, source: Source, where: str) -> None:
        self.manifest, self.encoding = manifest, encoding
        self.layout = _checked_layout(manifest, encoding, where)
        self._source, self._where = source, where
        self._parts: dict[str, Part] = {}

    @classmethod
    def open(cls, source: Path | str | Folder) -> Self:
        """Open a store in a folder, or at an address of fsspec (hf://…, s3://…).

        Its shards are mapped into memory when their first row is read, and those of an address brought here before.

        Raises: StoreError where there is none, it is not finished, its manifest is damaged, of an unknown version or
            encoding, or one of its files is missing or has another size.
        """
        folder = _folder(source)
        if isinstance(folder, LocalFolder):
            require_manifest(folder.path)
        manifest = Manifest.from_bytes(mapped_bytes(folder.fetch(MANIFEST)).tobytes(), str(source))
        if isinstance(folder, LocalFolder):
            require_files(folder.path, manifest)
        encoding = encoding_from(manifest.encoding, side_tensors(folder, manifest))
        return cls(manifest, encoding, FolderSource(folder, manifest), str(source))

    @classmethod
    def in_memory(
        cls,
        plan: Plan,
        packed: Mapping[str, Tensor],
        *,
        features: Mapping[str, Mapping[str, Tensor]] | None = None,
        offsets: Mapping[str, Tensor] | None = None,
    ) -> Self:
        """Make a store of packed rows without writing it; `save` would write the same bytes as a recording.

        Args:
            plan: what they are.
            packed: for each part (N, K, W) uint8; (P, W) where rows are ragged.
            features: for each part {name: (N, K, *shape)}.
            offsets: for each part (N * K + 1,) int64, where each view of each ragged row begins and the last ends.

        Raises: ArgumentError for rows of another shape than the plan's.
        """
        source = MemorySource(plan, packed, features or {}, offsets or {})
        return cls(source.manifest(), plan.encoding, source, "the targets in memory")

    @classmethod
    def from_arrays(cls, ids: Any, *, encoding: Encoding | None = None, **given: Any) -> Self:
        """Make a store of anybody's predictions without writing it.

        Args:
            ids: (N,) whole numbers, the rows'.
            encoding: every logit in float32 if None.
            **given: `probabilities` or `logits`, (N, C); `classes`, C names; and whatever else
                `limbeck.targets.imports.arrays.predictions` takes.

        Raises: DataError for values that are no predictions, each with its own sentence; MismatchError for classes
            that are not those expected; ArgumentError.

        >>> targets = Targets.from_arrays([4, 7], probabilities=[[0.9, 0.1], [0.2, 0.8]], classes=["no", "yes"])
        >>> targets.knowledge(torch.tensor([7])).at(1.0).logits.softmax(-1)
        tensor([[0.2000, 0.8000]])
        """
        found = predictions(ids, **given)
        plan = plan_of(found, encoding or DenseLogits())
        return cls.in_memory(plan, {PART: packed_rows(found, plan)})

    @property
    def folder(self) -> Folder | None:
        """Where its files are; None for targets in memory."""
        return self._source.folder if isinstance(self._source, FolderSource) else None

    @property
    def path(self) -> Path | None:
        """The folder on this machine; None for targets in memory or elsewhere."""
        return self.folder.path if isinstance(self.folder, LocalFolder) else None

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the splits."""
        return tuple(self.manifest.parts)

    @property
    def temperatures(self) -> tuple[float, ...] | None:
        """What it answers exactly; None for every temperature."""
        return self.encoding.temperatures

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what determines the answers: it covers the checksum of every file."""
        return self.manifest.sha256

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return len(self.manifest.to_bytes()) + sum(record.bytes for record in self.manifest.files.values())

    def part(self, name: str) -> Part:
        """Return the rows of one split. Raises: MismatchError for one that is not there, StoreError for damage."""
        if name not in self._parts:
            if name not in self.manifest.parts:
                held = ", ".join(self.manifest.parts) or "none"
                raise MismatchError(f"There are no answers to the split {name!r} in {self._where}; there are: {held}.")
            self._parts[name] = self._source.part(name)
        return self._parts[name]

    def knowledge(
        self,
        ids: Tensor,
        view: int = 0,
        part: str = "train",
        features: Sequence[str] = (),
        device: torch.device | None = None,
    ) -> Knowledge:
        """Return what was recorded of some rows.

        Args:
            ids: (B,) int64 on the CPU.
            view: which view of the rows.
            part: of which split.
            features: names of inner activations that come along.
            device: where to; packed rows travel, and are decoded there.

        Raises: MismatchError for rows, views or features that were not recorded; StoreError for damage.
        """
        packed, found = self.part(part).read(ids, view, features)
        if device is not None and device.type != "cpu":
            packed = packed.to(device, non_blocking=True)
            found = {name: values.to(device, non_blocking=True) for name, values in found.items()}
        return self.encoding.decode(self.layout.unpack(packed), self.manifest.head, self.manifest.width, found)

    def plan(self) -> Plan:
        """Return the plan that this store could be a recording of."""
        manifest = self.manifest
        return Plan(
            head=manifest.head,
            classes=manifest.classes,
            width=manifest.width,
            encoding=self.encoding,
            teacher=manifest.teacher,
            transform=manifest.transform,
            marks=manifest.marks,
            batch_size=manifest.batch_size,
            features={field.name: (field.dtype, field.shape) for field in manifest.feature_fields},
            parts={name: self._part_plan(name) for name in manifest.parts},
            ragged=manifest.ragged,
        )

    def _part_plan(self, name: str) -> PartPlan:
        record, part = self.manifest.parts[name], self.part(name)
        shard_rows = record.shards[0].rows if record.shards else 1
        return PartPlan(part.ids, part.contents, part.views, shard_rows)

    def save(self, folder: Path | str, *, resume: bool = False) -> None:
        """Write the store into a folder, new or empty, in the bytes that a recording would have written.

        Raises: StoreError as `Recording` does.
        """
        recording = Recording(folder, self.plan(), resume=resume)
        for shard in recording.missing():
            recording.commit(shard, *self.part(shard.part).block(shard.first, shard.rows))
        recording.finish()

    def __reduce__(self) -> tuple[Callable[..., "Targets"], tuple[object, ...]]:
        if isinstance(self._source, FolderSource):
            return _opened_again, (self._source.folder, self.fingerprint)
        return Targets, (self.manifest, self.encoding, self._source, self._where)


def _folder(source: Path | str | Folder) -> Folder:
    if isinstance(source, str) and is_address(source):
        return remote_folder(source)
    return LocalFolder(Path(source).absolute()) if isinstance(source, (str, Path)) else source


def _opened_again(folder: Folder, fingerprint: str) -> Targets:
    targets = Targets.open(folder)
    if targets.fingerprint != fingerprint:
        raise StoreError(f"The store {folder} was replaced by another one while it was in use.")
    return targets


def _checked_layout(manifest: Manifest, encoding: Encoding, where: str) -> Layout:
    try:
        layout = encoding.layout(manifest.width)
    except ArgumentError as error:
        raise StoreError(f"The manifest of {where} contradicts itself: {error}") from error
    said = [dict(field) for field in manifest.layout]
    if (
        layout.as_json() != said
        or layout.nbytes != manifest.row_bytes
        or encoding.temperatures != manifest.temperatures
    ):
        raise StoreError(f"The manifest of {where} contradicts itself: its rows are not those of its encoding.")
    return layout
