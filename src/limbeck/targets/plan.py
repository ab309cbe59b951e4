"""`Plan`: everything that a store will say of itself but its checksums, known before the first row is recorded.

Shape legend, this file:  N rows of a part.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from limbeck.errors import ArgumentError
from limbeck.targets.encoding import Encoding
from limbeck.targets.encodings.lowrank import LowRank
from limbeck.targets.layout import DTYPES, Field, Layout
from limbeck.targets.manifest import FileRecord, Manifest, PartRecord, ShardRecord
from limbeck.targets.tensorfile import bytes_of, serialised
from limbeck.types import Head

BASIS = "basis.safetensors"
"""The file with what all rows share, where an encoding has such."""

SHARD_BYTES = 128 * 2**20
"""A shard is at most so large, unless more is asked for: it stands in memory while it is recorded."""

_SHARDS, _LEAST_ROWS, _MOST_ROWS = 8, 1024, 65_536
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def default_shard_rows(rows: int, row_bytes: int, batch_size: int) -> int:
    """Return how many rows a shard gets: about eight shards a part, neither tiny nor beyond 128 MiB.

    It is a multiple of `batch_size`, so that no recording batch stands in two shards, unless one batch alone is larger
    than a shard may be.

    Args:
        rows: of the part.
        row_bytes: of a row in all its views, features included.
        batch_size: rows that the teacher answers at once.

    >>> default_shard_rows(60_000, 40, 512), default_shard_rows(1_000_000, 4000, 512)
    (7680, 33280)
    """
    most = min(_MOST_ROWS, SHARD_BYTES // row_bytes)
    wanted = max(-(-rows // _SHARDS), _LEAST_ROWS)
    rounded = -(-wanted // batch_size) * batch_size
    if rounded <= most:
        return rounded
    return most // batch_size * batch_size or max(1, most)


class Shard(NamedTuple):
    """Consecutive rows of a part, in every view: what is written, lost or kept as a whole."""

    part: str
    """The name of the split."""
    number: int
    """Its place among the part's shards."""
    first: int
    """The position of its first row in the part, in the order of ids."""
    rows: int
    """How many rows it holds."""
    views: int
    """In how many views."""

    @property
    def file(self) -> str:
        """Its name in the store's folder."""
        return f"{self.part}-{self.number:05d}.safetensors"

    @property
    def sidecar(self) -> str:
        """The name of the file that holds its checksum until the manifest does."""
        return f"{self.part}-{self.number:05d}.json"


@final
@dataclass(frozen=True, eq=False)
class PartPlan:
    """The rows of one split. Raises: ArgumentError for ids that are not ascending, or numbers out of their range."""

    ids: Tensor
    """(N,) int64, ascending and distinct."""
    contents: Tensor | None
    """(N,) int64 hashes of the rows' contents; None where they are not known."""
    views: int
    """How many views of each row, the raw one included."""
    shard_rows: int
    """Rows of a shard; the last may have fewer."""

    def __post_init__(self) -> None:
        if self.ids.dtype != torch.int64 or self.ids.dim() != 1 or not bool((self.ids[1:] > self.ids[:-1]).all()):
            raise ArgumentError("PartPlan: ids must be (N,) int64, ascending and distinct.")
        if self.contents is not None and (self.contents.dtype, self.contents.shape) != (torch.int64, self.ids.shape):
            raise ArgumentError(f"PartPlan: contents must be ({len(self.ids)},) int64, one for each id.")
        if self.views < 1 or self.shard_rows < 1:
            raise ArgumentError(f"PartPlan: views and shard_rows must be positive. Got {self.views, self.shard_rows}.")

    @property
    def fingerprint(self) -> str | None:
        """SHA-256 of the ids and then the contents as little-endian integers; None where contents are not known."""
        if self.contents is None:
            return None
        both = hashlib.sha256(bytes_of(self.ids))
        both.update(bytes_of(self.contents))
        return both.hexdigest()

    @property
    def index(self) -> list[bytes | memoryview]:
        """The pieces of the file with ids and contents."""
        tensors = {"ids": self.ids} if self.contents is None else {"ids": self.ids, "contents": self.contents}
        return serialised(tensors)

    def shards(self, part: str) -> list[Shard]:
        """Cut the rows into shards."""
        starts = range(0, len(self.ids), self.shard_rows)
        return [
            Shard(part, number, first, min(self.shard_rows, len(self.ids) - first), self.views)
            for number, first in enumerate(starts)
        ]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """What is to be recorded. Raises: ArgumentError for names and numbers that a store cannot have."""

    head: Head
    """How logits become probabilities."""
    classes: Sequence[str] | None
    """Their names in order; None where nothing names them."""
    width: int
    """How many classes or labels."""
    encoding: Encoding
    """How answers become bytes."""
    teacher: Mapping[str, Any]
    """Its fingerprint, specification, kind and precision."""
    transform: Mapping[str, Any] | None
    """How the views were made; None where there are only raw rows."""
    marks: Sequence[str]
    """What is known of the answers' origin."""
    batch_size: int
    """Rows that the teacher answers at once."""
    features: Mapping[str, tuple[torch.dtype, tuple[int, ...]]]
    """Inner activations by the name of the submodule: type and shape of one row's."""
    parts: Mapping[str, PartPlan]
    """By the name of the split."""
    ragged: bool = False
    """Whether a row is a sequence of positions."""

    def __post_init__(self) -> None:
        for name in self.parts:
            if not _PLAIN.fullmatch(name):
                raise ArgumentError(f"Plan: a part must be named by letters, digits, - and _. Got {name!r}.")
        for name, (dtype, shape) in self.features.items():
            if dtype not in _NAMES or 0 in shape:
                raise ArgumentError(f"Plan: the feature {name!r} cannot be stored: it is {dtype} {tuple(shape)}.")
        if self.classes is not None and len(self.classes) != self.width:
            raise ArgumentError(f"Plan: there must be {self.width} classes. Got {len(self.classes)}.")
        if self.batch_size < 1:
            raise ArgumentError(f"Plan: batch_size must be positive. Got {self.batch_size}.")

    @cached_property
    def layout(self) -> Layout:
        """The fields of a row."""
        return self.encoding.layout(self.width)

    @cached_property
    def feature_fields(self) -> list[Field]:
        """Inner activations of one row, by name."""
        return [Field(name, dtype, tuple(shape)) for name, (dtype, shape) in self.features.items()]

    @cached_property
    def shards(self) -> list[Shard]:
        """All shards of all parts, in the order in which they are dealt to writers."""
        return [shard for name in sorted(self.parts) for shard in self.parts[name].shards(name)]

    @cached_property
    def basis(self) -> list[bytes | memoryview] | None:
        """The pieces of the file with what all rows share; None for encodings that share nothing."""
        return serialised(self.encoding.side()) if isinstance(self.encoding, LowRank) else None

    @cached_property
    def draft(self) -> Manifest:
        """The manifest, with blanks where the shards' checksums will stand."""
        return self.manifest({shard: FileRecord(shard.file, 0, "") for shard in self.shards})

    def manifest(self, written: Mapping[Shard, FileRecord]) -> Manifest:
        """Return the manifest of a store whose shards are these files."""
        return Manifest(
            head=self.head,
            classes=None if self.classes is None else tuple(self.classes),
            width=self.width,
            encoding=self.encoding.as_json(),
            layout=self.layout.as_json(),
            row_bytes=self.layout.nbytes,
            ragged=self.ragged,
            temperatures=self.encoding.temperatures,
            teacher=self.teacher,
            transform=self.transform,
            marks=tuple(self.marks),
            batch_size=self.batch_size,
            features={
                name: {"dtype": _NAMES[dtype], "shape": list(shape)} for name, (dtype, shape) in self.features.items()
            },
            basis=None if self.basis is None else file_record(BASIS, self.basis),
            parts={name: self._part(name, written) for name in self.parts},
        )

    def _part(self, name: str, written: Mapping[Shard, FileRecord]) -> PartRecord:
        part = self.parts[name]
        return PartRecord(
            rows=len(part.ids),
            views=part.views,
            fingerprint=part.fingerprint,
            index=self.indices[name],
            shards=tuple(
                ShardRecord(shard.file, shard.first, shard.rows, written[shard].bytes, written[shard].sha256)
                for shard in part.shards(name)
            ),
        )

    @cached_property
    def indices(self) -> dict[str, FileRecord]:
        """The file with ids and contents of each part."""
        return {name: file_record(f"{name}.index.safetensors", part.index) for name, part in self.parts.items()}


def shard_tensors(packed: Tensor, features: Mapping[str, Tensor], offsets: Tensor | None) -> dict[str, Tensor]:
    """Return the tensors of a shard's file by their names there."""
    named = {"rows": packed, **{f"features.{name}": values for name, values in features.items()}}
    return named if offsets is None else {**named, "offsets": offsets}


def file_record(name: str, pieces: Sequence[bytes | memoryview]) -> FileRecord:
    """Return what a manifest says of a file with this content."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return FileRecord(name, sum(len(piece) for piece in pieces), digest.hexdigest())
