"""`--teacher` and `--student`: what can teach and learn, and what is said of what cannot."""

import json
from pathlib import Path

import pytest
from newcomer import in_another_process, write_csv

PARTS = "distill --data train.csv --epochs 1"
LEARN = f"{PARTS} --student model.py:student --out run --teacher"
BE_TAUGHT = f"{PARTS} --out run --student"


@pytest.fixture
def taught(limbeck, folder):
    """A finished run of the labels dog and cat, in the folder `elder`."""
    write_csv("pets.csv", labels=("dog", "cat"))
    assert limbeck("distill --data pets.csv --epochs 1 --student model.py:student --out elder").status == 0
    return folder / "elder"


@pytest.mark.parametrize("teacher", ["model.py:teacher", "model.py:live", "teachers.py:frozen", "teachers.py:built"])
def test_a_module_a_factory_and_a_teacher_can_teach(limbeck, folder, teacher):
    Path("teachers.py").write_text(
        "from model import teacher\nfrom limbeck import FrozenTeacher\n"
        "from limbeck.data.prepare import plain_features\n"
        "frozen = FrozenTeacher(teacher(), prepare=plain_features)\n"
        "def built(): return FrozenTeacher(teacher(), prepare=plain_features)\n"
    )
    assert limbeck(LEARN, teacher).status == 0
    summary = json.loads(Path("run/summary.json").read_text())
    assert summary["teacher"]["test"]["rows"] == 6
    assert "agreement" in summary["student"]["test"]


def test_a_finished_run_and_a_specification_can_teach(limbeck, taught):
    assert (
        limbeck("distill --data pets.csv --epochs 1 --student model.py:student --out run --teacher elder").status == 0
    )
    found = json.loads(Path("run/spec.json").read_text())
    assert found["specification"]["fields"]["teacher"] == str(taught)
    assert found["classes"] == ["cat", "dog"]
    assert limbeck(LEARN.replace("--out run", "--out other"), "spec.py:small").status == 0
    assert [path.name for path in Path("teachers").iterdir() if path.is_dir()]


TEACHERS = {
    "nosuch": "--teacher must be FILE.py:object or the folder of a run. Got 'nosuch'.",
    "model.py": "--teacher must be FILE.py:object or the folder of a run. Got 'model.py'.",
    "nosuch.py:net": "There is no file {folder}/nosuch.py.",
    "model.py:nosuch": "model.py defines no 'nosuch'; it defines: ",
    "model.py:number": "An object of type int cannot be a teacher; give a module, a run or a factory.",
    "model.py:nothing": "An object of type NoneType cannot be a teacher; give a module, a run or a factory.",
    "model.py:raising": "The teacher's factory raised KeyError: 'no weights' ({folder}/model.py, line ",
    "model.py:wide": "The teacher cannot be called on what its `prepare` made of 2 rows of the data: it raised ",
    "model.py:three": "Teacher, student and data must have the same classes. Numbers of classes: the student 2, the",
    "model.py:three_named": "Teacher and data must have the same classes. The teacher has 3 and the data 2; only",
    "model.py:Hidden": "The teacher cannot be used: No logits in what the model returned, a dict: return a tensor, a",
    ".": ". is not a run: it holds no spec.json.",
}


@pytest.mark.parametrize("teacher", TEACHERS)
def test_a_teacher_that_cannot_teach_is_refused(refused, folder, teacher):
    assert refused(LEARN, teacher).startswith(TEACHERS[teacher].format(folder=folder))


STUDENTS = {
    "": "--student must name a function as FILE.py:factory. Got ''.",
    "model.py": "--student must name a function as FILE.py:factory. Got 'model.py'.",
    "nosuch.py:net": "There is no file {folder}/nosuch.py.",
    "model.py:live": "--student must name a function or class that returns a new model. model.py:live is an object of",
    "model.py:number": "--student must name a function or class that returns a new model. model.py:number is an object",
    "model.py:nothing": "The student's factory must return an nn.Module. It returned an object of type NoneType.",
    "model.py:raising": "The student's factory raised KeyError: 'no weights' ({folder}/model.py, line ",
    "model.py:wide": "The student cannot be called on what its `prepare` made of 2 rows of the data: it raised ",
    "model.py:three": "Teacher, student and data must have the same classes. Numbers of classes: the student 3, the",
    "model.py:Hidden": "The student cannot be used: No logits in what the model returned, a dict: return a tensor, a",
}


@pytest.mark.parametrize("student", STUDENTS)
def test_a_student_that_cannot_learn_is_refused(refused, folder, student):
    assert refused(BE_TAUGHT, student).startswith(STUDENTS[student].format(folder=folder))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--teacher model.py:teacher --soft 1.5", "--soft must lie in [0, 1]. Got 1.5."),
        ("--teacher model.py:teacher --soft=nan", "--soft must lie in [0, 1]. Got nan."),
        (
            "--temperature 2",
            "--temperature and --soft are of the soft targets, which need a --teacher or its --targets.",
        ),
        ("--soft 0.5", "--temperature and --soft are of the soft targets, which need a --teacher or its --targets."),
        (
            "--teacher model.py:teacher --objective.soft.temperature 0",
            "SoftTargets: temperature must be a positive fin",
        ),
    ],
)
def test_the_objective_of_parts_must_make_sense(refused, words, sentence):
    assert refused(f"{BE_TAUGHT} model.py:student {words}").startswith(sentence)


def test_classes_in_another_order_than_the_teachers_are_refused(refused, taught):
    spec = json.loads((taught / "spec.json").read_text())
    (taught / "spec.json").write_text(json.dumps({**spec, "classes": ["dog", "cat"]}))
    sentence = refused("distill --data pets.csv --student model.py:student --out run --teacher elder")
    assert sentence == (
        "Teacher and data have the same classes in another order: class 0 is 'dog' for the teacher and 'cat' in the "
        "data."
    )


def test_other_classes_than_the_teachers_are_refused(refused, taught):
    write_csv("more.csv", labels=("dog", "cat", "ant"))
    sentence = refused("distill --data more.csv --student model.py:three --out run --teacher elder")
    assert sentence == (
        "Teacher and data must have the same classes. The teacher has 2 and the data 3; only the data have 'ant'."
    )


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("spec.json", "{", "{run}/spec.json is damaged: Expecting property name enclosed in double quotes"),
        (
            "spec.json",
            "[]",
            "{run}/spec.json is damaged: a run's has the keys classes, data, head, specification, teach",
        ),
        (
            "spec.json",
            "{}",
            "{run}/spec.json is damaged: a run's has the keys classes, data, head, specification, teach",
        ),
        ("student/model.safetensors", "no weights", "{run}/student/model.safetensors is damaged: "),
        ("student/model.safetensors", None, "There is no model.safetensors in {run}/student."),
        ("summary.json", None, "The run {run} has not finished; go on with --resume."),
        ("spec.json", None, "{run} is not a run: it holds no spec.json."),
    ],
)
def test_a_damaged_or_unfinished_run_cannot_teach(refused, taught, name, text, sentence):
    (taught / name).unlink()
    if text is not None:
        (taught / name).write_text(text)
    found = refused("distill --data pets.csv --student model.py:student --out run --teacher elder")
    assert found.startswith((sentence.format(run=taught), sentence.format(run="elder")))  # as it was named


def test_weights_of_another_network_cannot_teach(refused, taught):
    model = Path("model.py").read_text()
    Path("model.py").write_text(model.replace("nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)", "nn.Linear(3, 2)"))
    with pytest.warns(UserWarning, match="has changed since the run"):
        sentence = refused("distill --data pets.csv --student model.py:student --out run --teacher elder")
    assert sentence.startswith(f"The weights in {taught}/student/model.safetensors do not fit Sequential")


def test_a_teacher_whose_file_is_gone_cannot_teach(refused, taught):
    Path("model.py").rename("models.py")
    sentence = refused("distill --data pets.csv --student models.py:student --out run --teacher elder")
    assert sentence == f"There is no file {taught.parent}/model.py."


def test_a_warning_of_ours_is_one_line(taught):
    model = Path("model.py")
    model.write_text(model.read_text().replace("nn.ReLU(), nn.Linear(4, 2)", "nn.Tanh(), nn.Linear(4, 2)"))
    line = "distill --data pets.csv --epochs 1 --student model.py:student --out run --teacher elder"
    done = in_another_process(line)
    assert done.returncode == 0
    (line,) = [said for said in done.stderr.splitlines() if not said.startswith("training")]
    assert line == f"limbeck: The source of {model.resolve()}:student has changed since the run {taught} was trained."
