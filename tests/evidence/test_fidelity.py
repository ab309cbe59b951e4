"""Agreement, divergence and the teacher's mistakes: by hand, against SciPy, and on real runs."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy

import tiny
from evidence.written_runs import logs, sure_of, write_run
from limbeck.errors import MismatchError
from limbeck.evidence.fidelity import fidelity
from limbeck.functional import arithmetic_mixture, soft_cross_entropy
from limbeck.objective import SoftTargets
from limbeck.specification import EnsembleOf
from limbeck.targets.encodings.topk import TopKLogProbs
from limbeck.targets.store import Targets
from limbeck.training.distill import distill
from limbeck.training.forms import Form
from limbeck.training.progress import Silent
from limbeck.training.recording import record

LABELS = {"test": [0, 0, 1, 2]}


def other_teacher():
    torch.manual_seed(8)
    return tiny.student()


def trained(spec, out):
    return distill(spec, out, watcher=Silent())


def judged(**changes):
    return tiny.specification(data=tiny.splits, **changes)


def slow_kl(student, teacher, temperature):
    """Mean of SciPy's relative entropy, row by row."""
    pairs = zip(teacher.double() / temperature, student.double() / temperature, strict=True)
    rows = [entropy(t.softmax(-1).numpy(), s.softmax(-1).numpy()) for t, s in pairs]
    return float(sum(rows) / len(rows))


def test_agreement_and_divergence_by_hand(tmp_path):
    teacher = logs((0.5, 0.25, 0.25), (0.1, 0.8, 0.1))
    student = logs((0.25, 0.5, 0.25), (0.1, 0.8, 0.1))
    run = write_run(tmp_path / "run", {"student-test": student, "teacher-test": teacher})
    found = fidelity({"distilled": {0: run}}, None, 1.0)
    told = found["splits"]["test"]["distilled"]
    assert told["agreement"] == [0.5]
    # Of the first row 1/2 log 2 - 1/4 log 2, of the second nothing.
    assert told["kl"] == {"1": [pytest.approx(torch.tensor(2.0).log().item() / 8)]}
    assert list(found["splits"]) == ["test"]
    assert found["teacher_wrong"] is None  # nobody knows what is right


def test_rows_are_matched_by_their_ids_whatever_their_order(tmp_path):
    teacher, student = torch.randn(7, 3), torch.randn(7, 3)
    straight = write_run(tmp_path / "a", {"student-test": student, "teacher-test": teacher})
    order = torch.randperm(7)
    mixed = write_run(
        tmp_path / "b",
        {"student-test": student[order], "teacher-test": teacher},
        ids={"test": order},
    )
    teacher_file = mixed.path / "predictions" / "teacher-test.safetensors"
    teacher_file.write_bytes((straight.path / "predictions" / "teacher-test.safetensors").read_bytes())
    first, second = (fidelity({"distilled": {0: run}}, None, 1.0)["splits"] for run in (straight, mixed))
    assert first["test"]["distilled"]["agreement"] == second["test"]["distilled"]["agreement"]
    assert first["test"]["distilled"]["kl"]["1"] == pytest.approx(second["test"]["distilled"]["kl"]["1"])


def test_what_becomes_of_the_teachers_mistakes(tmp_path):
    # The teacher takes row 1 for a 1 and row 3 for a 0.
    teacher = sure_of(3, 0, 1, 1, 0)
    given = {"d0": (0, 0, 1, 0), "d1": (2, 2, 2, 2), "a0": (0, 1, 1, 0)}
    runs = {
        name: write_run(tmp_path / name, {"student-test": sure_of(3, *row), "teacher-test": teacher}, labels=LABELS)
        for name, row in given.items()
    }
    arms = {"distilled": {5: runs["d1"], 2: runs["d0"]}, "alone": {2: runs["a0"]}}
    found = fidelity(arms, None, 1.0)["teacher_wrong"]
    assert found == {
        "rows": 2,
        "repaired": {"distilled": [0.5, 0.5], "alone": [0.0]},  # seeds in ascending order
        "copied": {"distilled": [0.5, 0.0], "alone": [1.0]},
    }


def test_a_teacher_that_is_always_right_leaves_nothing_to_repair(tmp_path):
    answers = {"student-test": sure_of(3, 0, 0, 0, 0), "teacher-test": sure_of(3, 0, 0, 1, 2)}
    run = write_run(tmp_path / "run", answers, labels=LABELS)
    found = fidelity({"distilled": {0: run}}, None, 1.0)["teacher_wrong"]
    assert found == {"rows": 0, "repaired": {}, "copied": {}}


@given(seed=st.integers(0, 999))
@settings(deadline=None, max_examples=25)
def test_shares_are_shares_and_no_row_is_both_repaired_and_copied(tmp_path_factory, seed):
    generator = torch.Generator().manual_seed(seed)
    answers = {name: torch.randn(13, 3, generator=generator) for name in ("student-test", "teacher-test")}
    labels = {"test": torch.randint(3, (13,), generator=generator)}
    run = write_run(tmp_path_factory.mktemp("run"), answers, labels=labels)
    found = fidelity({"distilled": {0: run}}, None, 1.0)
    told = found["teacher_wrong"]
    if told["rows"]:
        (repaired,), (copied,) = told["repaired"]["distilled"], told["copied"]["distilled"]
        assert repaired >= 0
        assert copied >= 0
        assert repaired + copied <= 1
    assert found["splits"]["test"]["distilled"]["kl"]["1"][0] >= 0


def test_independent_labels_are_decided_one_by_one(tmp_path):
    logits = {"student-test": torch.tensor([[2.0, -2.0], [2.0, 2.0]]), "teacher-test": torch.tensor([[2.0, 2.0]] * 2)}
    labels = {"test": [[1.0, 0.0], [1.0, 1.0]]}
    run = write_run(tmp_path / "run", logits, labels=labels, head="sigmoid")
    found = fidelity({"distilled": {0: run}}, None, 1.0)
    assert found["splits"]["test"]["distilled"]["agreement"] == [0.75]
    assert found["teacher_wrong"] == {"rows": 1, "repaired": {"distilled": [1.0]}, "copied": {"distilled": [0.0]}}
    p, q = torch.tensor([2.0]).sigmoid().item(), torch.tensor([-2.0]).sigmoid().item()
    one_coin = p * torch.tensor(p / q).log() + (1 - p) * torch.tensor((1 - p) / (1 - q)).log()
    assert found["splits"]["test"]["distilled"]["kl"]["1"] == [pytest.approx(one_coin.item() / 2)]


def test_without_a_teacher_there_is_nothing_to_say(tmp_path):
    run = write_run(tmp_path / "run", {"student-test": torch.randn(3, 2)})
    assert fidelity({"distilled": {0: run}}, None, 4.0) is None


def test_runs_of_other_rows_are_refused_in_one_sentence(tmp_path):
    answers = {"student-test": torch.randn(3, 2), "teacher-test": torch.randn(3, 2)}
    run = write_run(tmp_path / "run", answers)
    other = write_run(tmp_path / "other", answers, ids={"test": [0, 1, 7]})
    with pytest.raises(MismatchError, match=r"^The run .*other did not answer 1 of the 3 rows .*\(the first id: 2\);"):
        fidelity({"distilled": {0: run}, "alone": {0: other}}, None, 1.0)
    fewer = write_run(tmp_path / "fewer", {"student-test": torch.randn(2, 2)})
    with pytest.raises(
        MismatchError, match=r"^The run .*fewer answered other rows \(2\) than it is compared on \(3\);"
    ):
        fidelity({"distilled": {0: run}, "alone": {0: fewer}}, None, 1.0)


def test_arms_without_answers_are_left_out(tmp_path):
    answers = {"student-test": torch.randn(3, 2), "teacher-test": torch.randn(3, 2)}
    arms = {"distilled": {0: write_run(tmp_path / "run", answers)}, "alone": {0: write_run(tmp_path / "none", {})}}
    assert list(fidelity(arms, None, 1.0)["splits"]["test"]) == ["distilled"]


def test_one_live_network_is_known_at_every_temperature(tmp_path):
    taught, alone = trained(judged(), tmp_path / "taught"), trained(tiny.alone(data=tiny.splits), tmp_path / "alone")
    found = fidelity({"distilled": {0: taught}, "alone": {0: alone}}, None, 3.0)
    for split in ("train", "test"):
        teacher = taught.predictions("teacher", split).logits
        for arm, run in (("distilled", taught), ("alone", alone)):
            told = found["splits"][split][arm]
            student = run.predictions("student", split).logits
            assert told["kl"]["1"] == [pytest.approx(slow_kl(student, teacher, 1.0), rel=1e-5)]
            assert told["kl"]["3"] == [pytest.approx(slow_kl(student, teacher, 3.0), rel=1e-5)]
            assert told["agreement"] == [(student.argmax(-1) == teacher.argmax(-1)).double().mean().item()]
        summary = taught.summary["student"][split]
        assert found["splits"][split]["distilled"]["agreement"] == [pytest.approx(summary["agreement"])]
        assert found["splits"][split]["distilled"]["kl"]["1"] == [pytest.approx(summary["kl"], rel=1e-5)]
    json.dumps(found, allow_nan=False)


def test_a_mixture_is_asked_at_the_temperature_itself(tmp_path):
    """Logits at T = 1, divided by 4, are not what an arithmetic ensemble says at T = 4."""
    spec = judged(teacher=EnsembleOf(members=(tiny.teacher, other_teacher)))
    store = tmp_path / "store"
    record(spec, store, form=Form(encoding="members"), watcher=Silent())
    run = trained(replace(spec, teacher=None, targets=store), tmp_path / "run")
    columns = tiny.splits().test.rows(torch.arange(17)).columns["features"]
    members = torch.stack([network(columns) for network in (tiny.teacher(), other_teacher())]).detach()
    student = run.predictions("student", "test").logits
    right = slow_kl(student, arithmetic_mixture(members, temperature=4.0), 4.0)
    wrong = slow_kl(student, arithmetic_mixture(members, temperature=1.0), 4.0)
    assert abs(right - wrong) > 0.1 * right
    for targets in (Targets.open(store), None):  # handed over, or found where the specification says
        told = fidelity({"distilled": {0: run}}, targets, 4.0)["splits"]["test"]["distilled"]
        assert told["kl"]["4"] == [pytest.approx(right, rel=1e-5)]


def test_of_a_live_mixture_nothing_is_known_but_at_one(tmp_path):
    spec = judged(teacher=EnsembleOf(members=(tiny.teacher, other_teacher)))
    run = trained(spec, tmp_path / "run")
    found = fidelity({"distilled": {0: run}}, None, 4.0)
    assert list(found["splits"]["test"]["distilled"]["kl"]) == ["1"]
    geometric = trained(replace(spec, teacher=replace(spec.teacher, mean="geometric")), tmp_path / "geometric")
    assert list(fidelity({"distilled": {0: geometric}}, None, 4.0)["splits"]["test"]["distilled"]["kl"]) == ["1", "4"]


def test_of_top_k_targets_the_coarse_divergence_is_a_lower_bound(tmp_path):
    run = trained(judged(), tmp_path / "run")
    arms, found = {"distilled": {0: run}}, {}
    for k in (1, 3):
        store = tmp_path / f"top-{k}"
        record(judged(), store, form=Form(encoding="top-k", k=k, temperatures=(1.0, 4.0)), watcher=Silent())
        assert isinstance(Targets.open(store).encoding, TopKLogProbs)
        found[k] = fidelity(arms, Targets.open(store), 4.0)["splits"]["test"]["distilled"]
    full = fidelity(arms, None, 4.0)["splits"]["test"]["distilled"]
    assert found[1]["kl"]["4"][0] < full["kl"]["4"][0]
    assert found[3]["kl"]["4"] == pytest.approx(full["kl"]["4"], rel=2e-3)  # all classes, in half precision
    assert found[1]["agreement"] == full["agreement"]


def test_a_temperature_that_was_not_recorded_is_left_out(tmp_path):
    store = tmp_path / "store"
    record(judged(), store, form=Form(encoding="top-k", k=2, temperatures=(4.0,)), watcher=Silent())
    run = trained(judged(teacher=None, targets=store), tmp_path / "run")
    told = fidelity({"distilled": {0: run}}, None, 4.0)["splits"]["test"]["distilled"]
    assert list(told["kl"]) == ["4"]
    assert 0 <= told["agreement"][0] <= 1
    assert fidelity({"distilled": {0: run}}, None, 2.0) is None


def test_a_file_of_predictions_answers_for_rows_it_was_asked_about_before(tmp_path):
    """Imported predictions have no splits: the ids of test rows are looked for among them all, and compared."""
    probs = torch.rand(7, 3).softmax(-1)
    targets = Targets.from_arrays(range(7), probabilities=probs.numpy(), classes=list("abc"))
    same = {"student-test": torch.randn(3, 3), "teacher-test": probs[4:].log()}
    run = write_run(tmp_path / "run", same, ids={"test": [4, 5, 6]})
    told = fidelity({"distilled": {0: run}}, targets, 4.0)["splits"]["test"]["distilled"]
    assert told["kl"]["4"] == [pytest.approx(slow_kl(same["student-test"], probs[4:].log(), 4.0), rel=1e-4)]
    # A test file of its own has rows 4 to 6 too, and its teacher said something else of them.
    other = {**same, "teacher-test": torch.randn(3, 3)}
    run = write_run(tmp_path / "other", other, ids={"test": [4, 5, 6]})
    told = fidelity({"distilled": {0: run}}, targets, 4.0)["splits"]["test"]["distilled"]
    assert told["kl"] == {"1": [pytest.approx(slow_kl(other["student-test"], other["teacher-test"], 1.0), rel=1e-4)]}


def test_drawn_classes_cannot_be_compared_with(tmp_path):
    store, soft = tmp_path / "store", SoftTargets(temperature=4.0, divergence=soft_cross_entropy)
    spec = judged(objective=soft, validation=None)
    record(spec, store, form=Form(encoding="sampled", temperatures=(4.0,)), watcher=Silent())
    run = trained(replace(spec, teacher=None, targets=store), tmp_path / "run")
    assert fidelity({"distilled": {0: run}}, None, 4.0) is None
