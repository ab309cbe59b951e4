"""What a store of soft targets refuses, each in its own sentence: a part of reliability.py."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from limbeck.data import TensorSet
from limbeck.data.augment import Noise
from limbeck.data.prepare import plain_features
from limbeck.errors import LimbeckError
from limbeck.objective import LogitMatching, SoftTargets
from limbeck.specification import Distillation
from limbeck.targets.imports.open import from_arrays, read_targets
from limbeck.targets.manifest import MANIFEST, canonical
from limbeck.targets.store import Targets
from limbeck.targets.verify import verify
from limbeck.teachers import Ensemble, FrozenTeacher
from limbeck.training.distill import distill
from limbeck.training.forms import Form
from limbeck.training.progress import Silent
from limbeck.training.recording import record

ROWS, NAMES = 53, ("oak", "ash", "elm")
Attempts = Mapping[str, Callable[[], Any]]


def refusals(work: Path) -> dict[str, dict[str, str]]:
    """Try everything that must be refused; for each occasion: what was wrong -> the sentence.

    Raises: AssertionError for what was let through.
    """
    stores = _stores(work)
    occasions: dict[str, Attempts] = {
        "Teaching from a store": _teaching(work, stores),
        "Opening or verifying a store": _opening(work, stores),
        "Recording": _recording(work, stores),
        "Importing predictions": _importing(work),
    }
    found = {
        occasion: {what: _sentence(what, attempt, work) for what, attempt in attempts.items()}
        for occasion, attempts in occasions.items()
    }
    sentences = [sentence for part in found.values() for sentence in part.values()]
    print(f"{len(sentences)} kinds of wrong input refused, in {len(set(sentences))} different sentences")
    return found


def features(rows: int = ROWS) -> Tensor:
    """(rows, 5)."""
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(0))


def data(columns: Tensor | None = None, names: tuple[str, ...] = NAMES) -> TensorSet:
    """Rows with the first class for a label."""
    columns = features() if columns is None else columns
    return TensorSet(columns, labels=torch.zeros(len(columns), dtype=torch.int64), classes=names)


def teacher(seed: int, classes: int = 3) -> nn.Module:
    """A linear map."""
    torch.manual_seed(seed)
    return nn.Linear(5, classes)


def specification(**changes: Any) -> Distillation:
    """A run that would fit the store of the first teacher."""
    fields: dict[str, Any] = {
        "data": data(),
        "student": partial(nn.Linear, 5, 3),
        "objective": 1.0 * SoftTargets(temperature=4.0),
        "validation": None,
        "device": "cpu",
        "epochs": 1,
    }
    return Distillation(**{**fields, **changes})


def _stores(work: Path) -> dict[str, Path]:
    mixed = Ensemble([FrozenTeacher(teacher(seed), prepare=plain_features) for seed in (1, 2)])
    noisy = {"augment": Noise(scale=0.1), "views": 2}
    recordings: dict[str, tuple[dict[str, Any], Form]] = {
        "dense": ({"teacher": teacher(1)}, Form()),
        "mixed": ({"teacher": mixed}, Form()),
        "noisy": ({"teacher": teacher(1), **noisy}, Form()),
        "top-k": ({"teacher": teacher(1)}, Form(encoding="top-k", k=2)),
        "sampled": ({"teacher": teacher(1)}, Form(encoding="sampled", draws=4)),
    }
    for name, (changes, form) in recordings.items():
        record(specification(**changes), work / name, form=form, watcher=Silent())
    return {name: work / name for name in recordings}


def _teaching(work: Path, stores: Mapping[str, Path]) -> Attempts:
    def taught(store: str, **changes: Any) -> Callable[[], Any]:
        spec = replace(specification(targets=stores[store]), **changes)
        return partial(distill, spec, work / "run", watcher=Silent())

    return {
        "another teacher": taught("dense", teacher=teacher(2)),
        "another dataset": taught("dense", data=data(features() + 1)),
        "a permuted dataset": taught("dense", data=data(features().flip(0))),
        "fewer rows in the store than in the data": taught("dense", data=data(features(ROWS + 7))),
        "other classes": taught("dense", data=data(names=("oak", "ash", "yew"))),
        "classes in another order": taught("dense", data=data(names=("ash", "oak", "elm"))),
        "another number of classes": taught(
            "dense", data=data(names=(*NAMES, "yew")), student=partial(nn.Linear, 5, 4)
        ),
        "rows that are augmented, and were not when they were recorded": taught(
            "dense", augment=Noise(scale=0.1), views=1
        ),
        "another augmentation": taught("noisy", augment=Noise(scale=0.2), views=2),
        "views of another seed": taught("noisy", augment=Noise(scale=0.1), views=2, view_seed=1),
        "more views than were recorded": taught("noisy", augment=Noise(scale=0.1), views=3),
        "a temperature that it cannot answer": taught("mixed", objective=1.0 * SoftTargets(temperature=2.0)),
        "logits to match, where only the likeliest classes were recorded": taught("top-k", objective=LogitMatching()),
        "a divergence that draws cannot estimate": taught("sampled"),
    }


def _opening(work: Path, stores: Mapping[str, Path]) -> Attempts:
    def changed(name: str, change: Callable[[Path], Any]) -> Callable[[], Any]:
        copy = work / "opening" / name
        shutil.copytree(stores["dense"], copy)
        change(copy)
        return partial(_opened_and_verified, copy)

    shard = "train-00000.safetensors"
    return {
        "no folder": partial(Targets.open, work / "nothing-here"),
        "a folder of something else": changed("foreign", lambda copy: (copy / MANIFEST).rename(copy / "notes.json")),
        "a recording that is not finished": changed(
            "unfinished", lambda copy: (copy / MANIFEST).rename(copy / "recording.json")
        ),
        "an unknown version of the format": changed("newer", lambda copy: _edit(copy, version=99)),
        "another format": changed("other", lambda copy: _edit(copy, format="soft-labels")),
        "an unknown encoding": changed("encoding", lambda copy: _edit(copy, encoding={"name": "wavelets"})),
        "a manifest that was edited by hand": changed("edited", _edit_by_hand),
        "a manifest that is no JSON": changed("no-json", lambda copy: (copy / MANIFEST).write_text("{")),
        "a shard that is missing": changed("missing", lambda copy: (copy / shard).unlink()),
        "a shard that was cut": changed(
            "cut", lambda copy: (copy / shard).write_bytes((copy / shard).read_bytes()[:-1])
        ),
        "a shard with a flipped bit": changed("flipped", lambda copy: _flip_last(copy / shard)),
        "a store whose writer was killed before it had tidied up": changed(
            "untidy", lambda copy: (copy / "recording.json").touch()
        ),
        "a file that is no part of it": changed("more", lambda copy: (copy / "more.safetensors").touch()),
    }


def _opened_and_verified(store: Path) -> None:
    verify(Targets.open(store))


def _edit(store: Path, **changes: Any) -> None:
    """Change a manifest and make its own checksum right again."""
    facts = json.loads((store / MANIFEST).read_bytes())
    del facts["sha256"]
    facts.update(changes)
    (store / MANIFEST).write_bytes(canonical({**facts, "sha256": hashlib.sha256(canonical(facts)).hexdigest()}))


def _edit_by_hand(store: Path) -> None:
    text = (store / MANIFEST).read_text(encoding="utf-8")
    (store / MANIFEST).write_text(text.replace('"oak"', '"fir"'), encoding="utf-8")


def _flip_last(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _recording(work: Path, stores: Mapping[str, Path]) -> Attempts:
    begun, foreign = work / "begun", work / "foreign"
    options: dict[str, Any] = {"batch_size": 8, "shard_rows": 8, "watcher": Silent()}
    own = specification(teacher=teacher(1))
    record(own, begun, share=(0, 2), **options)  # the other share is missing
    foreign.mkdir()
    (foreign / "notes.txt").touch()

    def joined(spec: Distillation, **more: Any) -> Callable[[], Any]:
        return partial(record, spec, begun, share=(1, 2), **{**options, **more})

    def wrong(**changes: Any) -> Callable[[], Any]:
        return partial(record, specification(**changes), work / "new", watcher=Silent())

    return {
        "a recording that was stopped, without --resume": partial(record, own, begun, **options),
        "a finished store": partial(record, own, stores["dense"], watcher=Silent()),
        "a folder with other files": partial(record, own, foreign, watcher=Silent()),
        "a second writer with another teacher": joined(specification(teacher=teacher(2))),
        "a second writer with another dataset": joined(specification(teacher=teacher(1), data=data(features() + 1))),
        "a second writer with fewer rows": joined(specification(teacher=teacher(1), data=data(features(ROWS - 1)))),
        "a second writer with other classes": joined(
            specification(teacher=teacher(1), data=data(names=("oak", "ash", "yew")))
        ),
        "a second writer with another encoding": joined(own, form=Form(dtype="float16")),
        "a second writer with another batch size": joined(own, batch_size=16),
        "a second writer with other shards": joined(own, shard_rows=16),
        "a second writer with other views": joined(
            specification(teacher=teacher(1), augment=Noise(scale=0.1), views=2)
        ),
        "a teacher that is recorded already": wrong(teacher=str(stores["dense"])),
        "new views in every epoch": wrong(teacher=teacher(1), augment=Noise(scale=0.1)),
        "an augmentation that is not a function of its key": wrong(teacher=teacher(1), augment=_careless, views=2),
        "a teacher that says NaN": wrong(teacher=_diverged()),
    }


def _careless(columns: Mapping[str, Any], _keys: Any) -> dict[str, Any]:
    """Noise that nobody can repeat."""
    return {**columns, "features": columns["features"] + torch.randn(columns["features"].shape)}


def _diverged() -> nn.Module:
    module = teacher(1)
    nn.init.constant_(module.bias, torch.nan)
    return module


def _importing(work: Path) -> Attempts:
    good = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])

    def given(**changes: Any) -> Callable[[], Any]:
        return partial(from_arrays, **{"ids": [0, 1, 2], "classes": NAMES, "probabilities": good, **changes})

    def changed(row: int, column: int, value: float) -> Callable[[], Any]:
        values = good.copy()
        values[row, column] = value
        return given(probabilities=values)

    def file(name: str, text: str, **how: Any) -> Callable[[], Any]:
        (work / name).write_text(text, encoding="utf-8")
        return partial(read_targets, work / name, **how)

    return {
        "NaN": changed(1, 1, np.nan),
        "a negative probability": changed(1, 0, -0.1),
        "a probability above 1": changed(1, 0, 1.1),
        "probabilities that do not sum to 1": changed(2, 2, 0.9),
        "logits of +inf": given(probabilities=None, logits=np.array([[0.0, np.inf, 0], [1, 2, 3], [1, 2, 3]])),
        "ids that come twice": given(ids=[0, 1, 1]),
        "ids that are no whole numbers": given(ids=[0.5, 1.5, 2.5]),
        "fewer ids than rows": given(ids=[0, 1]),
        "fewer classes than columns": given(classes=("oak", "ash")),
        "a class that is named twice": given(classes=("oak", "ash", "ash")),
        "classes that are not the data's": given(expected_classes=("oak", "ash", "yew")),
        "columns that nothing names": given(classes=None, expected_classes=NAMES),
        "a file that is no file of predictions": file("notes.txt", "oak"),
        "a file that is not there": partial(read_targets, work / "nothing.npz"),
        "an archive that is damaged": file("damaged.npz", "PK"),
        "a table with a value that is no number": file("words.csv", "id,oak,ash,elm\n0,0.7,much,0.1\n"),
        "a reply without an answer": file("replies.jsonl", '{"id": 0}\n', classes=NAMES),
    }


def _sentence(what: str, attempt: Callable[[], Any], work: Path) -> str:
    try:
        attempt()
    except LimbeckError as error:
        return " ".join(str(error).replace(str(work), "STORES").split())
    raise AssertionError(f"{what} was not refused")
