"""Augmented training: what the student and its teacher see, against plain torch, resumes, workers and two processes."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from limbeck.data.augment import Compose, Mask, Noise
from limbeck.data.order import epoch_order
from limbeck.errors import Interrupted, SpecificationError
from limbeck.files import read_tensors
from limbeck.keyed import row_keys
from limbeck.objective import HardLabels
from limbeck.training.distill import distill
from limbeck.training.progress import Silent
from tiny import (
    ROWS,
    alone,
    cosine,
    dropout_student,
    features,
    specification,
    splits,
    student,
    teacher,
)

AUGMENT = Compose((Noise(0.2), Mask(0.2)))
EPOCHS, SIZE = 5, 8

SEEN = {"student": [], "teacher": []}


class Watched(nn.Module):
    """A module that writes down every batch that it is trained on or asked about while training."""

    def __init__(self, name, inner):
        super().__init__()
        self.name, self.inner = name, inner

    def forward(self, values):
        SEEN[self.name].append(values.detach().clone())
        return self.inner(values)


def watched_student():
    return Watched("student", student())


def watched_teacher():
    return Watched("teacher", teacher())


def shown(spec, out):
    """What student and teacher saw in the steps of a run, batch by batch, after the two rows that they are tried on."""
    for batches in SEEN.values():
        batches.clear()
    distill(spec, out, watcher=Silent())
    steps = spec.epochs * -(-ROWS // spec.batch_size)
    return {name: [batch for batch in batches if len(batch) != 2][:steps] for name, batches in SEEN.items()}


def expected(views, epochs=EPOCHS, seed=0, view_seed=0):
    columns = features()
    for epoch in range(epochs):
        view = epoch if views is None else epoch % views
        for rows in epoch_order(ROWS, seed, epoch).split(SIZE):
            batch = {"features": columns[rows]}
            yield (AUGMENT(batch, row_keys(view_seed, view, rows)) if view else batch)["features"]


def assert_saw(found, wanted):
    assert len(found) == len(wanted)
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))


def last_weights(folder):
    return read_tensors(next((Path(folder) / "checkpoints").glob("last-*")) / "student.safetensors")


def assert_same_weights(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("views", [None, 1, 2, 3])
def test_teacher_and_student_see_the_same_view_of_every_row_and_the_first_is_raw(tmp_path, views):
    spec = specification(
        student=watched_student, teacher=watched_teacher, augment=AUGMENT, views=views, epochs=EPOCHS, batch_size=SIZE
    )
    found, wanted = shown(spec, tmp_path / "run"), list(expected(views))
    assert_saw(found["student"], wanted)
    assert_saw(found["teacher"], wanted)
    assert torch.equal(torch.cat(found["student"][:7]), features()[epoch_order(ROWS, 0, 0)])


def test_other_seeds_see_the_same_views_and_other_view_seeds_do_not(tmp_path):
    spec = alone(student=watched_student, augment=AUGMENT, epochs=2, batch_size=SIZE)
    for number, (seed, view_seed) in enumerate([(3, 0), (3, 1)]):
        found = shown(replace(spec, seed=seed, view_seed=view_seed), tmp_path / str(number))["student"]
        assert_saw(found, list(expected(None, epochs=2, seed=seed, view_seed=view_seed)))


def test_micro_batches_workers_and_views_take_the_same_steps(tmp_path):
    spec = alone(student=watched_student, augment=AUGMENT, epochs=3, batch_size=SIZE)
    distill(spec, tmp_path / "here", watcher=Silent())
    distill(replace(spec, workers=2), tmp_path / "apart", watcher=Silent())
    assert_same_weights(last_weights(tmp_path / "apart"), last_weights(tmp_path / "here"))
    distill(replace(spec, microbatches=3), tmp_path / "parts", watcher=Silent())
    for name, tensor in last_weights(tmp_path / "parts").items():
        torch.testing.assert_close(tensor, last_weights(tmp_path / "here")[name])


def test_validation_test_and_probe_rows_are_raw(tmp_path):
    def harmless(columns, keys):
        return {"features": columns["features"] * 1.0}

    def huge(columns, keys):
        return {"features": columns["features"] * 1e3}

    spec = specification(data=splits, validation=0.1, epochs=1, probe_rows=11)  # one epoch: of raw rows
    plain, augmented, other = (
        distill(replace(spec, augment=augment), tmp_path / str(number), watcher=Silent())
        for number, augment in enumerate((None, harmless, huge))
    )
    assert plain.summary == augmented.summary == other.summary
    assert list(plain.records()) == list(augmented.records()) == list(other.records())


BATCHES = {"left": -1}


def stopping(columns):
    """A `prepare` that presses Ctrl-C when so many batches have been read."""
    BATCHES["left"] -= 1
    if BATCHES["left"] == 0:
        signal.raise_signal(signal.SIGINT)
    return columns["features"]


@pytest.mark.parametrize("batches", [9, 15, 29])
@pytest.mark.parametrize("views", [None, 2])
def test_a_run_that_was_stopped_within_an_epoch_goes_on_with_the_same_views(tmp_path, batches, views):
    spec = specification(
        student=dropout_student, prepare=stopping, augment=AUGMENT, views=views, epochs=EPOCHS, schedule=cosine
    )
    BATCHES["left"] = batches
    with pytest.raises(Interrupted):
        distill(spec, tmp_path / "stopped", watcher=Silent())
    found = distill(spec, tmp_path / "stopped", resume=True, watcher=Silent())
    expected = distill(spec, tmp_path / "whole", watcher=Silent())
    assert_same_weights(last_weights(found.path), last_weights(expected.path))
    assert list(found.records()) == list(expected.records())


def test_a_resume_with_more_epochs_sees_the_views_of_one_run_of_as_many(tmp_path):
    spec = alone(augment=AUGMENT, views=3)
    distill(replace(spec, epochs=2), tmp_path / "longer", watcher=Silent())
    distill(replace(spec, epochs=5), tmp_path / "longer", resume=True, watcher=Silent())
    distill(replace(spec, epochs=5), tmp_path / "whole", watcher=Silent())
    assert_same_weights(last_weights(tmp_path / "longer"), last_weights(tmp_path / "whole"))


def careless(columns, keys):
    return {"features": columns["features"] + torch.randn(columns["features"].shape)}


def test_an_augmentation_that_draws_from_a_generator_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(SpecificationError, match=r"The augmentation 'careless' is not a function of a row and its key"):
        distill(alone(augment=careless), tmp_path / "run", watcher=Silent())
    assert not (tmp_path / "run").exists()


def test_looking_at_an_augmentation_does_not_change_the_training(tmp_path):
    # One view only, the raw row: the run must be that of a specification without augmentation.
    for name, changes in (("plain", {}), ("one view", {"augment": AUGMENT, "views": 1})):
        distill(alone(student=dropout_student, objective=HardLabels(), **changes), tmp_path / name, watcher=Silent())
    assert_same_weights(last_weights(tmp_path / "plain"), last_weights(tmp_path / "one view"))
