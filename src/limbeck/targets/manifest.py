"""`Manifest`: what a store says of itself, as canonical JSON. `docs/targets.md` describes every key."""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn, Self, final

from limbeck.errors import StoreError
from limbeck.targets.layout import DTYPES, Field
from limbeck.types import Head

MANIFEST = "manifest.json"
"""The file that marks a store as whole."""
ALTERED = "altered"
"""What a manifest calls a teacher whose answers were altered."""
RECORDING = "recording.json"
"""The plan, in the folder of a store that is not whole yet."""
FORMAT, VERSION = "limbeck-targets", 1

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HASH = re.compile(r"[0-9a-f]{64}")
_WORDS = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


class FileRecord(NamedTuple):
    """A file of a store."""

    file: str
    """Its name in the folder."""
    bytes: int
    """Its size."""
    sha256: str
    """Of its content, in hexadecimal."""

    def as_json(self) -> dict[str, Any]:
        """Return what a manifest says of it."""
        return self._asdict()


class ShardRecord(NamedTuple):
    """A file that holds consecutive rows of a part, in every view."""

    file: str
    """Its name in the folder."""
    first: int
    """The position of its first row."""
    rows: int
    """How many rows it holds."""
    bytes: int
    """Its size."""
    sha256: str
    """Of its content, in hexadecimal."""

    def as_json(self) -> dict[str, Any]:
        """Return what a manifest says of it."""
        return self._asdict()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PartRecord:
    """The rows of one split."""

    rows: int
    """How many."""
    views: int
    """How many views of each were recorded, the raw row included."""
    fingerprint: str | None
    """SHA-256 of ids and contents; None where the contents are not known."""
    index: FileRecord
    """The file with ids and contents."""
    shards: tuple[ShardRecord, ...]
    """The files with the answers, in the order of the rows."""

    def as_json(self) -> dict[str, Any]:
        """Return what a manifest says of it."""
        return {
            "rows": self.rows,
            "views": self.views,
            "fingerprint": self.fingerprint,
            "index": self.index.as_json(),
            "shards": [shard.as_json() for shard in self.shards],
        }


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a store says of itself. Neither time nor host nor path, so that equal recordings are equal bytes."""

    head: Head
    """How logits become probabilities."""
    classes: tuple[str, ...] | None
    """Their names in order; None where nothing named them."""
    width: int
    """How many classes or labels."""
    encoding: Mapping[str, Any]
    """The encoding's name and settings."""
    layout: Sequence[Mapping[str, Any]]
    """The fields of a packed row in the order of their bytes: name, dtype, shape."""
    row_bytes: int
    """Bytes of a packed row, padding included."""
    ragged: bool
    """Whether a row is a sequence of positions, each of `row_bytes`, of its own length."""
    temperatures: tuple[float, ...] | None
    """What it answers exactly; None for every temperature."""
    teacher: Mapping[str, Any]
    """Its fingerprint, specification, kind and precision."""
    transform: Mapping[str, Any] | None
    """How the views were made, as the recorder tells it; None where there are only raw rows."""
    marks: tuple[str, ...]
    """What is known of the answers' origin, such as "out-of-fold"."""
    batch_size: int
    """Rows that the teacher answered at once."""
    features: Mapping[str, Mapping[str, Any]]
    """Inner activations by the name of the submodule: dtype and shape of one row's."""
    basis: FileRecord | None
    """The file with what all rows share; None for encodings that share nothing."""
    parts: Mapping[str, PartRecord]
    """By the name of the split."""

    @property
    def sha256(self) -> str:
        """SHA-256 of the canonical bytes of everything else: it stands for every byte of the store."""
        return hashlib.sha256(canonical(self._facts())).hexdigest()

    @property
    def files(self) -> dict[str, FileRecord]:
        """Every file of the store but the manifest, by name."""
        found = [] if self.basis is None else [self.basis]
        for part in self.parts.values():
            found += [part.index, *(FileRecord(shard.file, shard.bytes, shard.sha256) for shard in part.shards)]
        return {record.file: record for record in found}

    @property
    def feature_fields(self) -> list[Field]:
        """Inner activations of one row, by name."""
        found = self.features.items()
        return [Field(name, DTYPES[feature["dtype"]], tuple(feature["shape"])) for name, feature in found]

    @property
    def plan(self) -> dict[str, Any]:
        """Everything that is known before the first row is recorded, as JSON."""
        facts = self._facts()
        for part in facts["parts"].values():
            part["shards"] = [{key: shard[key] for key in ("file", "first", "rows")} for shard in part["shards"]]
        return facts

    def to_bytes(self) -> bytes:
        """Return the manifest as canonical JSON."""
        return canonical({**self._facts(), "sha256": self.sha256})

    def _facts(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": VERSION,
            "head": self.head,
            "classes": None if self.classes is None else list(self.classes),
            "width": self.width,
            "encoding": dict(self.encoding),
            "layout": [dict(field) for field in self.layout],
            "row_bytes": self.row_bytes,
            "ragged": self.ragged,
            "temperatures": None if self.temperatures is None else list(self.temperatures),
            "teacher": dict(self.teacher),
            "transform": None if self.transform is None else dict(self.transform),
            "marks": list(self.marks),
            "batch_size": self.batch_size,
            "features": {name: dict(feature) for name, feature in self.features.items()},
            "basis": None if self.basis is None else self.basis.as_json(),
            "parts": {name: part.as_json() for name, part in self.parts.items()},
        }

    @classmethod
    def from_bytes(cls, content: bytes, where: str) -> Self:
        """Read a manifest.

        Args:
            content: of the file.
            where: the store, for the sentences of errors.

        Raises: StoreError for bytes that are not JSON, an unknown format or version, a checksum that does not match,
            JSON that is not canonical, keys that are missing or unknown, and values of a wrong type or range.
        """
        facts = _parsed(content, where)
        _check_version(facts, where)
        said = facts.pop("sha256", None)
        found = hashlib.sha256(canonical(facts)).hexdigest()
        if said != found:
            raise StoreError(f"The manifest of {where} is damaged: its checksum does not match its content.")
        manifest = _Reader(facts, f"The manifest of {where}").manifest(cls)
        if manifest.to_bytes() != content:
            raise StoreError(f"The manifest of {where} is damaged: it is not written as canonical JSON of known keys.")
        return manifest


def canonical(facts: Mapping[str, Any]) -> bytes:
    """Return the one way to write facts as JSON: keys sorted, one space for each level, UTF-8, a last line feed."""
    text = json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def read_canonical(content: bytes) -> dict[str, Any] | None:
    """Return the JSON object that some bytes are; None where they are none that could be written again."""
    try:
        facts = json.loads(content.decode())
        canonical(facts)
    except (ValueError, RecursionError, TypeError):
        return None
    return facts if isinstance(facts, dict) else None


def _parsed(content: bytes, where: str) -> dict[str, Any]:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise StoreError(f"The manifest of {where} is damaged: it is not UTF-8 text.") from None
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        raise StoreError(f"The manifest of {where} is damaged: it is not JSON.") from None
    facts = read_canonical(content)
    if facts is None:
        raise StoreError(f"The manifest of {where} is damaged: it is not a JSON object of plain numbers and text.")
    return facts


def _check_version(facts: Mapping[str, Any], where: str) -> None:
    if facts.get("format") != FORMAT:
        raise StoreError(f"{where} is not a store of soft targets: its manifest does not say {FORMAT!r}.")
    if type(facts.get("version")) is not int or facts["version"] != VERSION:
        raise StoreError(
            f"The store {where} has version {facts.get('version')!r} of the format, and this Limbeck knows version "
            f"{VERSION}; upgrade Limbeck, or record again."
        )


@final
class _Reader:
    """An object of JSON whose values are taken out by key and type. Raises: StoreError."""

    def __init__(self, facts: Mapping[str, Any], where: str) -> None:
        self._facts, self._where = facts, where

    def take(self, key: str, *kinds: type) -> Any:
        if key not in self._facts:
            raise StoreError(f"{self._where} lacks {key!r}.")
        value = self._facts[key]
        if type(value) not in kinds:
            self.refuse(key, " or ".join(_WORDS[kind] for kind in kinds))
        return value

    def refuse(self, key: str, should: str) -> NoReturn:
        value = json.dumps(self._facts[key], ensure_ascii=False)
        raise StoreError(f"{self._where} has {value[:60]} as {key!r}, which must be {should}.")

    def inside(self, key: str) -> "_Reader":
        return _Reader(self.take(key, dict), f"{self._where}, in {key!r},")

    def listed(self, key: str) -> list["_Reader"]:
        values = self.take(key, list)
        if not all(type(value) is dict for value in values):
            self.refuse(key, "a list of objects")
        return [_Reader(value, f"{self._where}, in {key!r},") for value in values]

    def count(self, key: str, least: int) -> int:
        value: int = self.take(key, int)
        if not least <= value < 2**63:
            self.refuse(key, f"at least {least} and below 2^63")
        return value

    def one_of(self, key: str, *values: str) -> Any:
        if self.take(key, str) not in values:
            self.refuse(key, f"one of {', '.join(values)}")
        return self._facts[key]

    def strings(self, key: str) -> tuple[str, ...]:
        values = self.take(key, list)
        if not all(type(value) is str for value in values):
            self.refuse(key, "a list of strings")
        return tuple(values)

    def shape(self) -> tuple[int, ...]:
        values = self.take("shape", list)
        if not all(type(value) is int and 0 < value < 2**63 for value in values):
            self.refuse("shape", "a list of positive whole numbers")
        return tuple(values)

    def hash(self, key: str) -> str:
        value: str = self.take(key, str)
        if not _HASH.fullmatch(value):
            self.refuse(key, "a SHA-256 in hexadecimal")
        return value

    def file(self) -> FileRecord:
        if not _PLAIN.fullmatch(self.take("file", str)):
            self.refuse("file", "a plain file name")
        return FileRecord(self.take("file", str), self.count("bytes", 0), self.hash("sha256"))

    def manifest(self, cls: type[Manifest]) -> Manifest:
        manifest = cls(
            head=self.one_of("head", "softmax", "sigmoid"),
            classes=None if self.take("classes", list, type(None)) is None else self.strings("classes"),
            width=self.count("width", 1),
            encoding=self.take("encoding", dict),
            layout=self.take("layout", list),
            row_bytes=self.count("row_bytes", 1),
            ragged=self.take("ragged", bool),
            temperatures=self.temperatures(),
            teacher=self.teacher(),
            transform=self.take("transform", dict, type(None)),
            marks=self.strings("marks"),
            batch_size=self.count("batch_size", 1),
            features=self.features(),
            basis=None if self.take("basis", dict, type(None)) is None else self.inside("basis").file(),
            parts=self.parts(),
        )
        self.inside("encoding").take("name", str)
        self.check_layout()
        if manifest.classes is not None and len(manifest.classes) != manifest.width:
            self.refuse("width", f"the number of classes, {len(manifest.classes)}")
        if len(manifest.files) != sum(1 + len(part.shards) for part in manifest.parts.values()) + bool(manifest.basis):
            raise StoreError(f"{self._where} names a file twice.")
        return manifest

    def temperatures(self) -> tuple[float, ...] | None:
        values = self.take("temperatures", list, type(None))
        if values is None:
            return None
        if not values or not all(type(value) in (int, float) and 0 < value < math.inf for value in values):
            self.refuse("temperatures", "null or a list of positive numbers")
        return tuple(values)

    def teacher(self) -> dict[str, Any]:
        teacher = self.inside("teacher")
        for key in ("fingerprint", "specification"):
            teacher.take(key, str, type(None))
        teacher.take("kind", str)
        teacher.take("precision", str)
        found: dict[str, Any] = self.take("teacher", dict)
        return found

    def features(self) -> dict[str, Any]:
        found: dict[str, Any] = self.take("features", dict)
        for name in found:
            feature = self.inside("features").inside(name)
            feature.one_of("dtype", *DTYPES)
            feature.shape()
        return found

    def check_layout(self) -> None:
        used = 0
        for field in self.listed("layout"):
            field.take("name", str)
            used += DTYPES[field.one_of("dtype", *DTYPES)].itemsize * math.prod(field.shape())
        if used > self.take("row_bytes", int):
            self.refuse("row_bytes", f"at least {used}, the bytes of its fields")

    def parts(self) -> dict[str, PartRecord]:
        parts = self.inside("parts")
        return {name: parts.inside(name).part() for name in self.take("parts", dict)}

    def part(self) -> PartRecord:
        shards = tuple(shard.shard() for shard in self.listed("shards"))
        rows, first = self.count("rows", 0), 0
        for shard in shards:
            if shard.first != first:
                self.refuse("shards", "consecutive rows from 0 on")
            first += shard.rows
        if first != rows:
            self.refuse("rows", f"{first}, the rows of its shards")
        return PartRecord(
            rows=rows,
            views=self.count("views", 1),
            fingerprint=None if self.take("fingerprint", str, type(None)) is None else self.hash("fingerprint"),
            index=self.inside("index").file(),
            shards=shards,
        )

    def shard(self) -> ShardRecord:
        file, size, sha256 = self.file()
        return ShardRecord(file, self.count("first", 0), self.count("rows", 1), size, sha256)
