"""`limbeck judge`: verdicts on predictions from elsewhere, and one sentence for each that cannot be judged."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

ROWS, SEEDS, CLASSES = 400, 8, 5


def scores_of(classes):
    return np.eye(CLASSES)[classes] * 3.0


@pytest.fixture(autouse=True)
def archives(folder):
    """Predictions of a distilled student, of one alone and of a teacher, right and wrong by known numbers of rows."""
    draw = np.random.default_rng(0)
    labels, ids, seeds = draw.integers(0, CLASSES, ROWS), np.arange(ROWS) + 1000, np.arange(SEEDS) + 7
    order = draw.permutation(ROWS)

    def predicted(counts):
        return np.stack([np.where(np.arange(ROWS) < count, (labels + 1) % CLASSES, labels) for count in counts])

    distilled = predicted([40, 41, 39, 42, 40, 38, 41, 43])
    alone = predicted([60, 62, 57, 63, 61, 58, 60, 64])
    teacher = predicted([36])[0]
    np.savez("a.npz", predictions=distilled, ids=ids, seeds=seeds)
    np.savez("b.npz", logits=scores_of(alone)[::-1][:, order], ids=ids[order], seeds=seeds[::-1])
    np.savez("t.npz", probabilities=scores_of(teacher) / 3, ids=ids)
    np.savez("y.npz", labels=labels, ids=ids)
    np.save("y.npy", labels)
    np.savez("plain_a.npz", predictions=distilled)
    np.savez("plain_b.npz", predictions=alone)
    np.savez("one_a.npz", predictions=distilled[0])
    np.savez("one_b.npz", predictions=alone[0])
    np.savez("three_a.npz", predictions=distilled[:3], labels=labels)
    np.savez("three_b.npz", predictions=alone[:3], labels=labels)
    np.savez("moved.npz", predictions=alone, ids=ids + 5)
    np.savez("short.npz", predictions=alone[:, :300])
    np.savez("later.npz", predictions=alone, seeds=seeds + 1)
    np.savez("twice.npz", predictions=alone, seeds=np.zeros(SEEDS, int))
    broken = scores_of(alone)
    broken[2, 5, 0] = np.nan
    np.savez("broken.npz", logits=broken)
    np.savez("four.npz", logits=scores_of(alone)[..., :4])
    np.savez("named.npz", logits=scores_of(alone), classes=list("abcde"))
    np.savez("other_names.npz", logits=scores_of(alone), classes=list("bacde"))
    np.savez("objects.npz", predictions=np.array([1, None], dtype=object))
    np.savez("both.npz", predictions=alone, logits=scores_of(alone))
    np.savez("empty.npz", predictions=np.zeros((3, 0), int))
    np.savez("minus.npz", predictions=alone - 1)
    np.savez("real.npz", predictions=alone[0] + 0.5)
    np.savez("ids_twice.npz", predictions=alone, ids=np.zeros(ROWS, int))
    np.savez("ids_text.npz", predictions=alone, ids=ids.astype(str))
    np.savez("other_labels.npz", predictions=alone, labels=(labels + 1) % CLASSES)
    np.savez("no_labels.npz", ids=ids)
    Path("junk.npz").write_bytes(b"PK\x03\x04 and nothing else")
    Path("half.npz").write_bytes(Path("a.npz").read_bytes()[:2000])
    np.save("minus.npy", labels - 1)
    np.save("real.npy", labels.astype(float))
    np.save("high.npy", labels + 20)
    np.save("short.npy", labels[:50])
    np.save("objects.npy", np.array([1, None], dtype=object))
    np.save("wrong.npy", (labels + 2) % CLASSES)
    Path("junk.npy").write_text("hello")
    return folder


def test_both_verdicts_are_printed_and_written(limbeck):
    said = limbeck(
        "judge a.npz b.npz --labels y.npz --teacher t.npz --worth 1 --within 3 --saw-test no --out out/v.json"
    )
    assert (said.status, said.err) == (0, "")
    found = json.loads(Path("out/v.json").read_text())
    assert found["verdict"]["outcome"] == "helped"
    assert found["verdict"]["differences"] == pytest.approx(np.array([20, 21, 18, 21, 21, 20, 19, 21]) / 4)
    assert found["replace"]["outcome"] == "yes"
    assert found["replace"]["mean"] == pytest.approx((np.mean([40, 41, 39, 42, 40, 38, 41, 43]) - 36) / 4)
    assert found["gap"]["closed"] == pytest.approx(20.125 / (60.625 - 36))
    assert (found["rows"], found["seeds"], found["notes"]) == (ROWS, list(range(7, 15)), [])
    for sentence in (found["verdict"]["sentence"], found["replace"]["sentence"]):
        assert sentence in said.out
    assert "Of the gap between the student alone and the teacher, 82% was closed" in said.out
    assert "10.12 ± 0.40 %" in said.out


def test_rows_and_runs_without_names_are_paired_by_their_order_which_is_said(limbeck):
    said = limbeck("judge plain_a.npz plain_b.npz --labels y.npy --out v.json")
    assert said.status == 0
    assert "Rows are paired by their order" in said.out
    assert "Runs are paired by their order" in said.out
    assert "whether the teacher saw them is unknown" in said.out
    named = limbeck("judge a.npz b.npz --labels y.npz --out named.json")
    assert named.status == 0
    first, second = (json.loads(Path(name).read_text())["verdict"] for name in ("v.json", "named.json"))
    assert first == second


def test_one_run_each_is_judged_as_two_checkpoints_and_says_what_cannot_be_said(limbeck):
    said = limbeck("judge one_a.npz one_b.npz --labels y.npy --teacher t.npz --within 1 --out v.json")
    assert said.status == 0
    assert "No verdict: one seed cannot tell a gain of 5.00 points from the luck of that seed" in said.out
    assert "These two checkpoints: the first makes 5.00 points fewer errors" in said.out
    assert "This checkpoint against the teacher: its error rate differs by" in said.out
    found = json.loads(Path("v.json").read_text())
    assert found["checkpoints"]["alone"]["label"] == "these two checkpoints"
    assert found["verdict"]["outcome"] == found["replace"]["outcome"] == "refused"


def test_too_few_seeds_say_how_many_would_do(limbeck):
    said = limbeck("judge three_a.npz three_b.npz --worth 1 --out v.json")
    assert "3 pairs can show nothing at this level, 6 are the fewest" in said.out
    assert json.loads(Path("v.json").read_text())["verdict"]["interval"] == [None, None]


def test_a_teacher_that_saw_the_rows_gets_no_verdict(limbeck):
    said = limbeck("judge a.npz b.npz --labels y.npz --teacher t.npz --within 1 --saw-test yes")
    assert said.status == 0
    assert "No verdict: the teacher was trained on these test rows" in said.out
    assert "No verdict on whether the student can replace the teacher" in said.out


def test_two_files_that_say_the_same_are_noticed(limbeck):
    Path("copy.npz").write_bytes(Path("a.npz").read_bytes())
    said = limbeck("judge a.npz copy.npz --labels y.npz --worth 1")
    assert "No worthwhile difference: the gain of 0.00 points" in said.out
    assert "are right and wrong in just the same rows; are they two files?" in said.out


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("", "Name two files"),
        ("a.npz", "Name two files"),
        ("a.npz b.npz", "Nothing says which predictions are right: give --labels"),
        ("a.npz b.npz --labels y.npy", "a.npz and b.npz hold the rows in two orders, and y.npy has no ids"),
        ("a.npz moved.npz --labels y.npz", "are of other rows: 5 of 400 ids of the first are not in the second"),
        ("a.npz ids_text.npz --labels y.npz", "are text in one file and numbers in the other"),
        ("a.npz short.npz --labels y.npz", "a.npz holds 400 rows and short.npz 300; they must be the same"),
        ("a.npz later.npz --labels y.npz", "Seeds do not pair: a.npz was run at 7, and later.npz was not"),
        ("a.npz twice.npz --labels y.npz", "names the seed 0 twice"),
        ("a.npz three_b.npz", "Seeds do not pair: a.npz holds 8 runs and three_b.npz 3 runs"),
        ("a.npz broken.npz --labels y.npz", "holds NaN among its logits, in row 5 of run 2"),
        ("a.npz four.npz --labels y.npz", "y.npz holds the label 4, and four.npz has 4 classes"),
        ("named.npz four.npz --labels y.npy", "named.npz scores 5 classes and four.npz 4"),
        ("named.npz other_names.npz --labels y.npy", "name other classes, or the same in another order"),
        ("a.npz objects.npz --labels y.npz", "holds Python objects, which are code and are not loaded"),
        ("a.npz both.npz --labels y.npz", "must hold one array of `predictions` .class indices., .*; it holds pred"),
        ("a.npz no_labels.npz --labels y.npz", "it holds none of them, among ids"),
        ("a.npz empty.npz --labels y.npz", "holds no rows: its predictions have the shape .3, 0."),
        ("a.npz minus.npz --labels y.npz", "predicts the class -1; class indices begin at 0"),
        ("a.npz real.npz --labels y.npz", "class indices must be integers"),
        ("a.npz ids_twice.npz --labels y.npz", "holds the id 0 twice; ids name rows"),
        ("a.npz other_labels.npz --labels y.npz", "The labels of y.npz and other_labels.npz differ in 400 of 400 rows"),
        ("a.npz junk.npz --labels y.npz", "it is no NumPy archive, which np.savez writes"),
        ("half.npz b.npz --labels y.npz", "it is no NumPy archive"),
        ("a.npz gone.npz --labels y.npz", "gone.npz cannot be read or written: No such file or directory"),
        ("a.npz a.npz --labels y.npz", "a.npz was named twice"),
        ("plain_a.npz plain_b.npz --labels minus.npy", "holds the label -1; class indices begin at 0"),
        ("plain_a.npz plain_b.npz --labels real.npy", "give one integer class index for each row"),
        ("plain_a.npz plain_b.npz --labels high.npy", "Every prediction is wrong: the labels are of other rows"),
        ("plain_a.npz plain_b.npz --labels wrong.npy", "Every prediction is wrong"),
        ("plain_a.npz plain_b.npz --labels short.npy", "plain_a.npz holds 400 rows and short.npy 50"),
        ("plain_a.npz plain_b.npz --labels objects.npy", "it holds Python objects, which are code"),
        ("plain_a.npz plain_b.npz --labels junk.npy", "it is no .npy file, which np.save writes"),
        ("plain_a.npz plain_b.npz --labels no_labels.npz", "holds no array `labels`, among ids"),
        (
            "plain_a.npz plain_b.npz --labels y.npy --teacher plain_b.npz",
            "There is one teacher, and plain_b.npz holds 8",
        ),
        ("a.npz b.npz --labels y.npz --worth 0", "--worth must be a number of percentage points above 0 and below 100"),
        ("a.npz b.npz --labels y.npz --within -1", "--within must be a number of percentage points above 0"),
        ("a.npz b.npz --labels y.npz --worth nan", "--worth must be a number of percentage points above 0"),
        ("a.npz b.npz --labels y.npz --worth much", "--worth must be a number"),
        ("a.npz b.npz --labels y.npz --level 95", "--level must be at least 0.5 and below 1"),
        ("a.npz b.npz --labels y.npz --look 0", "--look must be a whole number, at least 1"),
        ("a.npz b.npz --labels y.npz --saw-test maybe", "--saw-test must be one of"),
        ("a.npz b.npz --labels y.npz --out a.npz", "--out a.npz is one of the files to be judged"),
        ("a.npz b.npz --labels y.npz --wort 1", "There is no flag --wort. Did you mean --worth"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_one_sentence(refused, line, sentence):
    assert re.search(sentence, refused("judge", *line.split()))


def test_the_help_names_the_arrays_and_every_flag(limbeck):
    said = limbeck("judge --help")
    assert said.status == 0
    flags = ("labels", "teacher", "worth", "within", "level", "looks", "look", "saw-test", "out")
    assert [flag for flag in flags if f"--{flag} " not in said.out] == []
    assert "seeds × rows" in said.out
