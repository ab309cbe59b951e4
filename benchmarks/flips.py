"""Single bits of stores, flipped one at a time: a part of reliability.py."""

import contextlib
import io
import random
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from small_stores import SEED, stores_of_every_kind

from limbeck.cli.main import main as limbeck
from limbeck.errors import LimbeckError
from limbeck.functional import soft_cross_entropy
from limbeck.objective import SoftTargets
from limbeck.targets.manifest import MANIFEST, Manifest
from limbeck.targets.store import Targets
from limbeck.types import LogitKnowledge


def find_flips(work: Path, flips: int) -> dict[str, Any]:
    """Flip one bit at a time: `limbeck targets STORE --verify` must refuse, and reading must not end in a traceback.

    Every second bit is any one of all files; the others are of files drawn evenly, for the small ones' sake: manifests,
    ids and bases.
    """
    drawn = random.Random(SEED)
    stores = stores_of_every_kind(work)
    files = [path for store in stores.values() for path in sorted(store.iterdir())]
    sizes = [path.stat().st_size for path in files]
    assert all(_refused_by_verify(store) is None for store in stores.values()), "a store is refused as it is"
    found: Counter[str] = Counter(refused=0, in_manifests=0, in_indices=0, reading_refused=0, tracebacks=0)
    for number in range(flips):
        path = drawn.choices(files, sizes)[0] if number % 2 else drawn.choice(files)
        bit = drawn.randrange(8 * path.stat().st_size)
        flip(path, bit)
        found["in_manifests"] += path.name == MANIFEST
        found["in_indices"] += path.name.endswith("index.safetensors")
        found.update(_looked_at(path, bit))
        flip(path, bit)
    assert all(_refused_by_verify(store) is None for store in stores.values()), "a flip was not taken back"
    print(f"{flips} flipped bits: {found['refused']} refused, {found['tracebacks']} tracebacks")
    return {"flips": flips, "stores": list(stores), "files": len(files), "bytes": sum(sizes), **found}


def flip_manifests(work: Path) -> dict[str, int]:
    """Flip every bit of the manifests of all stores in a folder, one after another."""
    manifests = [path.read_bytes() for path in sorted(work.glob(f"*/{MANIFEST}"))]
    every, passed = 8 * sum(map(len, manifests)), sum(map(_passing_flips, manifests))
    print(f"each of the {every} bits of {len(manifests)} manifests: {every - passed} refused")
    return {"manifest_bits": every, "manifest_bits_refused": every - passed}


def flip(path: Path, bit: int) -> None:
    """Turn one bit of a file around."""
    with path.open("r+b") as file:
        file.seek(bit // 8)
        (byte,) = file.read(1)
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def _passing_flips(content: bytes) -> int:
    """How many of a manifest's bits can be flipped without its reader's noticing."""
    damaged, passed = bytearray(content), 0
    for bit in range(8 * len(content)):
        damaged[bit // 8] ^= 1 << bit % 8
        with contextlib.suppress(LimbeckError):
            Manifest.from_bytes(bytes(damaged), "the store")
            passed += 1
        damaged[bit // 8] ^= 1 << bit % 8
    return passed


def read_everything(store: Path) -> None:
    """Read every row of every split in every view, features included, and what a student would learn from it."""
    targets = Targets.open(store)
    temperature = (targets.temperatures or (4.0,))[-1]
    for name in targets.parts:
        part = targets.part(name)
        if targets.manifest.ragged:
            part.gather_ragged(torch.arange(len(part)))
            continue
        for view in range(part.views):
            teacher = targets.knowledge(part.ids, view, name, tuple(targets.manifest.features))
            student = LogitKnowledge(torch.zeros(len(part), targets.manifest.width))
            divergence = {"divergence": soft_cross_entropy} if targets.encoding.name == "sampled" else {}
            SoftTargets(temperature=temperature, **divergence)(student, teacher, None, 0)


def _looked_at(path: Path, bit: int) -> dict[str, int]:
    """Verify the store of a damaged file by the command line, and read it unverified."""
    found = {"refused": 0, "reading_refused": 0, "tracebacks": 0}
    for name, look in (("refused", _raise_what_verify_says), ("reading_refused", read_everything)):
        try:
            look(path.parent)
        except LimbeckError:
            found[name] = 1
        except Exception as error:  # this is what must not be
            found["tracebacks"] += 1
            print(f"bit {bit} of {path.parent.name}/{path.name}, {name}: {type(error).__name__}: {error}")
    if not found["refused"]:
        print(f"bit {bit} of {path.parent.name}/{path.name} was not found")
    return found


def _raise_what_verify_says(store: Path) -> None:
    said = _refused_by_verify(store)
    if said is not None:
        raise LimbeckError(said)


def _refused_by_verify(store: Path) -> str | None:
    """What the command line says of a damaged store; None where it finds no fault."""
    heard, printed = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(heard), contextlib.redirect_stdout(printed):
        status = limbeck(["targets", str(store), "--verify"])
    if status == 0 and "Verified" in printed.getvalue():
        return None
    assert status == 2, f"the status is {status}"
    assert heard.getvalue().startswith("limbeck: ") and heard.getvalue().count("\n") == 1, heard.getvalue()
    return heard.getvalue()
