"""Flags: what they may be written like, what they change, and what is said of wrong ones."""

import json

import pytest

from limbeck.cli.distill import specification_of
from limbeck.errors import SpecificationError


@pytest.mark.parametrize(
    "words",
    [
        "--batch-size 7 --objective.soft.temperature 2 --optimizer.lr 0.5 --width 3",
        "--batch_size 7 --objective.soft.temperature=2 --optimizer.lr=5e-1 --width=3",
        "--width 3 --optimizer.lr .5 --batch_size=7 --objective.soft.temperature 2.0",
    ],
)
def test_flags_may_be_written_with_equal_signs_spaces_underscores_and_dashes(folder, words):
    spec = specification_of(["spec.py:small", *words.split()]).spec
    assert (spec.batch_size, spec.goal.terms["soft"].term.temperature) == (7, 2.0)
    assert spec.optimizer.keywords["lr"] == 0.5
    assert spec.student.args == (3,)


def test_what_a_flag_does_not_name_stays_as_the_spec_has_it(folder):
    plain, changed = (specification_of(["spec.py:small", *words]).spec for words in ((), ("--epochs", "5")))
    assert (plain.epochs, changed.epochs) == (1, 5)
    assert changed.goal == plain.goal
    assert specification_of(["spec.py:small", "--clip-norm", "2"]).spec.clip_norm == 2.0
    assert specification_of(["spec.py:small", "--max-norm", "3.5"]).spec.max_norm == 3.5
    assert specification_of(["spec.py:small", "--validation", "None"]).spec.validation is None
    assert specification_of(["spec.py:lists", "--sizes", "2", "3", "--epochs", "4"]).spec.student.args == (5,)
    assert specification_of(["spec.py:lists", "--widths", "4"]).spec.student.args == (7,)


def test_overrides_reach_the_run(limbeck, folder):
    words = "--epochs 2 --seed 3 --objective.hard.weight 0.5 --optimizer.lr 0.02 --width 5"
    assert limbeck("distill", "spec.py:small", *words.split(), "--out", "run").status == 0
    record = json.loads((folder / "run" / "spec.json").read_text())
    fields = record["specification"]["fields"]
    assert (fields["epochs"], fields["seed"], fields["student"]["args"]) == (2, 3, [5])
    assert fields["optimizer"]["kwargs"] == {"lr": 0.02}
    assert [part["fields"]["weight"] for part in fields["objective"]["fields"]["parts"]] == [0.9, 0.5]
    assert record["origin"]["command"] == f"limbeck distill spec.py:small {words} --out run"
    assert record["origin"]["specification"] == "spec.py:small"


WRONG = {
    "--epoch 3": "There is no flag --epoch. Did you mean --epochs?",
    "--batchsize 3": "There is no flag --batchsize. Did you mean --batch-size?",
    "--temperature 3": "There is no flag --temperature. Did you mean --objective.soft.temperature?",
    "--reume": "There is no flag --reume. Did you mean --resume?",
    "--widht=3": "There is no flag --widht. Did you mean --width?",
    "--xyzzy": "There is no flag --xyzzy. `limbeck distill spec.py:small --help` lists the flags.",
    "--no-xyzzy": "There is no flag --no-xyzzy. `limbeck distill spec.py:small --help` lists the flags.",
    "--optimizer.momentum 1": "There is no flag --optimizer.momentum. Did you mean --optimizer.lr?",
    "--epochs 2 --epochs=3": "The flag --epochs is given twice; give it once, with all that belongs to it.",
    "--batch-size 7 --batch_size 8": "The flag --batch-size is given twice; give it once, with all that belongs to it.",
    "--resume --no-resume": "The flag --resume is given twice; give it once, with all that belongs to it.",
    "stray": "The word 'stray' belongs to no flag; `limbeck distill spec.py:small --help` lists the flags.",
    "--epochs 1 stray": "The word 'stray' belongs to no flag; `limbeck distill spec.py:small --help` lists the flags.",
    "--epochs": "--epochs needs a value.",
    "--width": "--width needs a value.",
    "--out": "--out needs a value.",
    "--epochs three": "--epochs must be a whole number. Got 'three'.",
    "--epochs 2.5": "--epochs must be a whole number. Got '2.5'.",
    "--width x": "--width must be a whole number. Got 'x'.",
    "--optimizer.lr fast": "--optimizer.lr must be a number. Got 'fast'.",
    "--clip-norm much": "--clip-norm must be a number (FLOAT) or None. Got 'much'.",
    "--parallel some": "--parallel must be a number (INT) or None. Got 'some'.",
    "--precision float16": "--precision must be one of 'float32', 'bfloat16', 'auto'. Got 'float16'.",
    "--epochs 0": "Distillation: epochs must be a whole number of at least 1. Got 0.",
    "--seed -1": "Distillation: seed must be a whole number of at least 0. Got -1.",
    "--validation 2": "Distillation: validation must lie in (0, 1) or be None. Got 2.0.",
    "--parallel 0": "--parallel must be a whole number of at least 1. Got 0.",
    "--backend dask": "--backend must be one of 'loky', 'ray'. Got 'dask'.",
    "--optimizer.lr -1": "The optimiser's factory raised ValueError: Invalid learning rate: -1.0.",
    "--device abacus": "The device 'abacus' cannot be used here: ",
    "--device meta": "The device 'meta' cannot be used here: ",
    "--track nosuch": "There is no tracker 'nosuch'. There are: ",
}


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_flag_is_refused_with_what_to_write_instead(refused, words):
    assert refused("distill", "spec.py:small", *words.split()).startswith(WRONG[words])


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf"])
@pytest.mark.parametrize("flag", ["--objective.soft.temperature {}", "--objective.soft.temperature={}"])
def test_a_temperature_must_be_positive_and_finite(refused, flag, value):
    sentence = refused("distill", "spec.py:small", *flag.format(value).split(" "), "--out", "run")
    assert sentence == f"SoftTargets: temperature must be a positive finite number. Got {float(value)}."


def test_a_temperature_is_also_looked_at_inside_a_spec_and_among_parts(refused):
    sentence = "SoftTargets: temperature must be a positive finite number. Got "
    assert refused("distill", "spec.py:colder", "--out", "run") == f"{sentence}0.0."
    assert refused("distill", "spec.py:colder", "--temperature", "nan") == f"{sentence}nan."
    parts = "--data train.csv --student model.py:student --teacher model.py:teacher --temperature"
    assert refused("distill", *parts.split(), "-2") == f"{sentence}-2.0."


def test_weights_must_not_be_negative_nor_all_zero(refused):
    assert "must be finite and not negative. Got -1.0." in refused(
        "distill", "spec.py:small", "--objective.soft.weight", "-1"
    )
    assert "must be finite and not negative. Got -3.0." in refused("distill", "spec.py:weighted", "--soft", "-3")
    none = ("--objective.soft.weight", "0", "--objective.hard.weight", "0")
    assert "at least one" in refused("distill", "spec.py:small", *none)
    assert "at least one" in refused("distill", "spec.py:weighted")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--rows 0", "--rows must be a whole number, 1 to 1,197. Got 0."),
        ("--rows 1198", "--rows must be a whole number, 1 to 1,197. Got 1198."),
        ("--rows many", "--rows must be a whole number. Got 'many'."),
        ("--members 0", "--members must be a whole number, at least 1. Got 0."),
        ("--hidden -1", "--hidden must be a whole number, at least 1. Got -1."),
        ("--seeds 1", "--seeds must be a whole number, 2 to 20. Got 1."),
        ("--seeds 21", "--seeds must be a whole number, 2 to 20. Got 21."),
        ("--parallel 0", "--parallel must be a whole number, at least 1. Got 0."),
        ("--member 3", "There is no flag --member. Did you mean --members?"),
        ("ten", "The word 'ten' belongs to no flag; `limbeck demo --help` lists the flags."),
    ],
)
def test_the_demo_refuses_what_it_cannot_run_before_it_begins(refused, words, sentence):
    assert refused("demo", *words.split(), "--out", "demo") == sentence


def test_a_long_value_is_quoted_whole(folder):
    value = "/a/long/way/down/" * 9
    with pytest.raises(SpecificationError) as caught:
        specification_of(["spec.py:small", "--epochs", value])
    assert str(caught.value) == f"--epochs must be a whole number. Got {value!r}."
