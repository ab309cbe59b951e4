"""Whether a teacher saw the rows that judge its student, told by the content of the rows."""

import time
from dataclasses import replace
from functools import partial

import pytest
import torch

from limbeck.data.digits import digits
from limbeck.data.splits import Splits, without_test
from limbeck.data.tensors import TensorSet
from limbeck.evidence.exposure import exposure
from limbeck.objective import HardLabels, SoftTargets
from limbeck.specification import Distillation, EnsembleOf
from limbeck.training.distill import distill
from limbeck.training.progress import Silent
from limbeck.training.recording import record
from limbeck.training.resolve import resolve_data
from limbeck_recipes.digits import digits as demo
from tiny import NAMES, alone, specification, splits, student, teacher, unlabelled_rows


def words(found):
    return found["validation"], found["test"]


def seen_of(spec):
    return exposure(spec, resolve_data(spec))


def all_digits():
    """All 1,797 rows as a training set, in another order and with other ids."""
    parts = digits()
    rows = [
        part.rows(torch.arange(len(part))).columns["features"] for part in (parts.test, parts.train, parts.validation)
    ]
    labels = [part.labels for part in (parts.test, parts.train, parts.validation)]
    return TensorSet(torch.cat(rows), labels=torch.cat(labels), classes=parts.train.classes)


def digits_teacher(**changes):
    return Distillation(**{"data": all_digits, "student": student, "objective": HardLabels(), **changes})


def test_a_teacher_of_all_digits_saw_the_rows_that_judge():
    found = seen_of(replace(demo(), teacher=digits_teacher(validation=None)))
    assert words(found) == ("yes", "yes")
    assert found["rows"] == {"validation": 250, "test": 350}
    assert found["duplicates"] == {"validation": 0, "test": 0}


def test_rows_that_chose_a_checkpoint_count_for_the_test_rows_and_not_for_the_validation_rows():
    held = seen_of(replace(demo(), teacher=digits_teacher(validation=0.5)))
    assert words(held) == ("yes", "yes") and held["rows"]["test"] == 350
    assert 0 < held["rows"]["validation"] < 250
    assert held["rows"]["validation"] + held["chosen_by"] == 250


def test_the_demos_teacher_saw_neither():
    found = seen_of(demo(members=3))
    assert words(found) == ("no", "no")
    assert found["rows"] == {"validation": 0, "test": 0} and found["chosen_by"] == 250


def test_one_member_is_enough():
    members = EnsembleOf(members=[*demo(members=2).teacher.members, digits_teacher(validation=None)])
    assert words(seen_of(replace(demo(), teacher=members))) == ("yes", "yes")
    unknown = EnsembleOf(members=[*demo(members=2).teacher.members, teacher])
    assert words(seen_of(replace(demo(), teacher=unknown))) == ("unknown", "unknown")
    both = EnsembleOf(members=[teacher, digits_teacher(validation=None)])
    assert words(seen_of(replace(demo(), teacher=both))) == ("yes", "yes")


def test_what_a_teachers_own_teacher_saw_counts():
    middle = replace(demo(), teacher=digits_teacher(validation=None), data=partial(without_test, digits))
    assert words(seen_of(replace(demo(), teacher=middle))) == ("yes", "yes")
    assert words(seen_of(replace(demo(), teacher=replace(middle, teacher=teacher)))) == ("unknown", "unknown")


@pytest.mark.parametrize("source", [teacher, teacher(), "nowhere"], ids=["factory", "module", "path"])
def test_of_what_says_nothing_of_its_rows_nothing_is_known(source):
    assert words(seen_of(specification(data=splits, validation=0.1, teacher=source))) == ("unknown", "unknown")


def test_without_a_teacher_nobody_saw_anything():
    assert words(seen_of(alone(data=splits, validation=0.1))) == ("no", "no")


def test_rows_that_are_not_there_were_not_seen():
    assert words(seen_of(specification())) == ("no", "no")


def twice():
    """Two test rows stand in the training rows, too, and one in the validation rows."""
    rows = splits()
    train = rows.train.rows(torch.arange(53)).columns["features"]
    test = rows.test.rows(torch.arange(17)).columns["features"]
    validation = rows.validation.rows(torch.arange(19)).columns["features"]
    test[3], test[5], validation[0] = train[7], train[8], train[9]
    return Splits(
        train=rows.train,
        validation=TensorSet(validation, labels=rows.validation.labels, classes=NAMES),
        test=TensorSet(test, labels=rows.test.labels, classes=NAMES),
    )


def unlabelled_twice():
    rows = twice()
    return replace(rows, train=unlabelled_rows())


def test_copies_within_a_dataset_are_counted_and_blamed_on_no_teacher():
    found = seen_of(specification(data=twice, validation=0.1, teacher=alone(data=twice)))
    assert words(found) == ("no", "no")
    assert found["rows"] == found["duplicates"] == {"validation": 1, "test": 2}


def test_copies_among_rows_that_the_student_has_no_labels_of_are_the_teachers():
    found = seen_of(
        specification(
            data=unlabelled_twice, validation=0.1, teacher=alone(data=twice), objective=SoftTargets(temperature=2.0)
        )
    )
    assert words(found) == ("yes", "yes")
    assert found["rows"] == {"validation": 1, "test": 2} and found["duplicates"] == {"validation": 0, "test": 0}


def wider():
    return TensorSet({"pixels": torch.zeros(20, 4)}, labels=torch.zeros(20, dtype=torch.int64), classes=NAMES)


def test_rows_of_other_columns_cannot_be_compared():
    spec = specification(data=splits, validation=0.1, teacher=alone(data=wider))
    assert words(seen_of(spec)) == ("unknown", "unknown")


def test_a_finished_run_tells_what_it_was_trained_on(tmp_path):
    seeing = distill(alone(data=the_test_rows, epochs=1), tmp_path / "seeing", watcher=Silent())
    innocent = distill(alone(data=splits, epochs=1), tmp_path / "innocent", watcher=Silent())
    spec = specification(data=splits, validation=0.1)
    assert words(seen_of(replace(spec, teacher=seeing.path))) == ("no", "yes")
    assert words(seen_of(replace(spec, teacher=str(innocent.path)))) == ("no", "no")


def the_test_rows():
    return splits().test


def test_a_run_on_live_rows_is_told_by_their_fingerprints(tmp_path):
    ours = splits()
    on_train = distill(alone(data=ours.train, epochs=1), tmp_path / "train", watcher=Silent())
    on_test = distill(alone(data=ours.test, epochs=1), tmp_path / "test", watcher=Silent())
    on_others = distill(alone(data=ours.train.subset(torch.arange(9)), epochs=1), tmp_path / "others", watcher=Silent())
    spec = specification(data=splits, validation=0.1)
    found = {run.path.name: words(seen_of(replace(spec, teacher=run.path))) for run in (on_train, on_test, on_others)}
    assert found == {"train": ("no", "no"), "test": ("no", "yes"), "others": ("unknown", "unknown")}


def test_a_run_whose_data_have_changed_since_says_nothing(tmp_path, monkeypatch):
    import tiny

    run = distill(alone(data=splits, epochs=1), tmp_path / "run", watcher=Silent())
    before = splits()
    monkeypatch.setattr(tiny, "splits", lambda: replace(before, train=before.test))
    spec = specification(data=before, validation=0.1, teacher=run.path)
    assert words(seen_of(spec)) == ("no", "no")  # its rows are the student's own, by their fingerprints
    spec = specification(data=replace(before, train=before.validation, validation=None), validation=0.1)
    assert words(seen_of(replace(spec, teacher=run.path))) == ("unknown", "unknown")


def test_targets_are_those_of_the_teacher_that_is_named_beside_them(tmp_path):
    spec = specification(data=splits, validation=0.1, teacher=alone(data=splits, epochs=1))
    record(spec, tmp_path / "targets", watcher=Silent())
    assert words(seen_of(replace(spec, targets=tmp_path / "targets"))) == ("no", "no")


def few():
    rows = splits()
    return replace(rows, train=rows.train.subset(torch.arange(23)))


@pytest.mark.parametrize(
    ("data", "expected"), [(splits, ("no", "no")), (the_test_rows, ("no", "yes")), (few, ("unknown", "unknown"))]
)
def test_a_store_alone_tells_of_teachers_that_were_trained_on_the_students_own_splits(tmp_path, data, expected):
    members = EnsembleOf(members=[alone(data=splits, epochs=1), alone(data=data, epochs=1, seed=1)])
    spec = specification(data=splits, validation=0.1, teacher=members)
    record(spec, tmp_path / "targets", watcher=Silent(), parallel=1)
    for name in ("targets", "teacher"):
        nameless = replace(spec, **{"teacher": None, name: tmp_path / "targets"})
        assert words(seen_of(nameless)) == expected


@pytest.mark.parametrize(
    "source", [teacher, alone(data=splits, epochs=1, teacher=teacher, objective=SoftTargets(temperature=2.0))]
)
def test_a_store_of_a_teacher_that_tells_nothing_says_nothing(tmp_path, source):
    spec = specification(data=splits, validation=0.1, teacher=source)
    record(spec, tmp_path / "targets", watcher=Silent())
    assert words(seen_of(replace(spec, teacher=None, targets=tmp_path / "targets"))) == ("unknown", "unknown")


@pytest.mark.slow
def test_sixty_thousand_digits_take_seconds(mnist):
    both = Splits(train=mnist.train, test=mnist.test)
    spec = specification(data=both, teacher=alone(data=both, validation=None), validation=0.1)
    begun = time.perf_counter()
    found = seen_of(spec)
    assert time.perf_counter() - begun < 20
    assert words(found) == ("yes", "no")
    assert found["rows"] == {"validation": 6000, "test": 0}
