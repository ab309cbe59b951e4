"""Norms, angles and balance from the probes' records; the variance between rows against one backward pass a row."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import tiny
from limbeck.data.tensors import TensorSet
from limbeck.evidence.gradient_facts import balanced, gradient_facts, variance_of_run
from limbeck.functional import cross_entropy, forward_kl
from limbeck.objective import HardLabels, SoftTargets
from limbeck.schedules import Linear
from limbeck.training.distill import distill
from limbeck.training.progress import Silent
from limbeck.training.rebuild import load_student


def trained(spec, out):
    return distill(spec, out, watcher=Silent())


def probed(**changes):
    return tiny.double(probe_rows=11, **changes)


def slow_variance(student, losses):
    """The measure from its definition, with a backward pass for each row's loss."""
    rows = []
    for loss in losses:
        parts = torch.autograd.grad(loss, list(student.parameters()), retain_graph=True)
        rows.append(torch.cat([part.flatten() for part in parts]).double())
    gradients = torch.stack(rows)
    middle = gradients.mean(0)
    covariance = (gradients - middle).T @ (gradients - middle) / (len(rows) - 1)
    return float(covariance.trace() / (middle @ middle))


def row_losses(student, temperature=4.0):
    rows = tiny.rows()
    logits = student(rows.rows(torch.arange(len(rows))).columns["features"].double())
    with torch.no_grad():
        teacher = tiny.double_teacher()(tiny.features().double())
    return forward_kl(logits, teacher, temperature=temperature), cross_entropy(logits, rows.labels)


def test_norms_and_cosines_are_means_over_the_seeds_epoch_by_epoch(tmp_path):
    runs = {seed: trained(probed(seed=seed), tmp_path / str(seed)) for seed in (0, 1)}
    found = gradient_facts({"distilled": runs})
    records = {seed: [one for one in run.records() if "gradients" in one] for seed, run in runs.items()}
    assert found["epoch"] == [0.0, 1.0, 2.0] == [one["epoch"] for one in records[0]]
    for at in range(3):
        told = [records[seed][at]["gradients"] for seed in (0, 1)]
        for term in ("soft", "hard"):
            assert found["norms"][term][at] == pytest.approx(sum(one["norms"][term] for one in told) / 2)
        cosines = [one["dots"]["soft·hard"] / one["norms"]["soft"] / one["norms"]["hard"] for one in told]
        assert found["cosines"]["soft·hard"][at] == pytest.approx(sum(cosines) / 2)
        assert -1 <= found["cosines"]["soft·hard"][at] <= 1
    json.dumps(found, allow_nan=False)


def test_the_balanced_weights_make_the_terms_pull_alike(tmp_path):
    run = trained(probed(epochs=1), tmp_path / "run")
    found = gradient_facts({"distilled": {0: run}})
    assert sum(found["balance"].values()) == pytest.approx(1.0)
    factors = {"soft": found["balance"]["soft"] / 0.7, "hard": found["balance"]["hard"] / 0.3}
    again = {term: sum(found["norms"][term]) * factor for term, factor in factors.items()}
    assert again["soft"] == pytest.approx(again["hard"])


@given(
    st.dictionaries(
        st.sampled_from("abc"), st.tuples(st.floats(0.1, 9), st.lists(st.floats(0.1, 9), min_size=2, max_size=2))
    ).filter(lambda terms: len(terms) > 1)
)
def test_balanced_weights_keep_their_total_and_equalise(terms):
    weights, norms = {name: one[0] for name, one in terms.items()}, {name: one[1] for name, one in terms.items()}
    found = balanced(weights, norms)
    assert sum(found.values()) == pytest.approx(sum(weights.values()))
    pulls = [found[name] / weights[name] * sum(norms[name]) for name in terms]
    assert pulls == pytest.approx([pulls[0]] * len(pulls))


def test_a_term_without_gradient_a_schedule_or_a_single_term_cannot_be_balanced(tmp_path):
    assert balanced({"a": 1.0, "b": 1.0}, {"a": [0.0], "b": [1.0]}) is None
    assert balanced({"a": 0.0, "b": 1.0}, {"a": [0.0], "b": [1.0]}) is None
    moving = Linear(start=1.0, stop=0.5, steps=5) * SoftTargets() + 0.5 * HardLabels()
    for name, objective in (("moving", moving), ("single", SoftTargets())):
        run = trained(probed(objective=objective, epochs=1), tmp_path / name)
        found = gradient_facts({"distilled": {0: run}})
        assert found["balance"] is None
        assert len(found["epoch"]) == 2


def test_runs_that_were_not_probed_say_nothing(tmp_path):
    run = trained(tiny.specification(epochs=1), tmp_path / "run")
    assert gradient_facts({"distilled": {0: run}}) is None


def test_the_variance_is_that_of_one_backward_pass_a_row(tmp_path):
    run = trained(probed(), tmp_path / "run")
    found = variance_of_run(run)
    torch.manual_seed(0)  # the run's seed: the student as it began
    begun, done = tiny.double_student(), load_student(run)
    for told, student in ((found, begun), (found["end"], done)):
        soft, hard = row_losses(student)
        assert told["soft"] == pytest.approx(slow_variance(student, soft), rel=1e-5)  # stored answers are float32
        assert told["hard"] == pytest.approx(slow_variance(student, hard), rel=1e-6)
    assert (found["rows"], found["seed"]) == (tiny.ROWS, 0)


def test_weights_and_scales_do_not_matter(tmp_path):
    """T² and the weights multiply all rows alike."""
    one = trained(probed(epochs=1), tmp_path / "one")
    other = trained(probed(epochs=1, objective=5.0 * SoftTargets(temperature=4.0)), tmp_path / "other")
    assert variance_of_run(other)["soft"] == pytest.approx(variance_of_run(one)["soft"])


def same_rows():
    features = tiny.features(1).expand(13, tiny.FEATURES).clone()
    return TensorSet(features, labels=torch.ones(13, dtype=torch.int64), classes=tiny.NAMES)


def test_equal_rows_have_no_variance_between_them(tmp_path):
    found = variance_of_run(trained(probed(data=same_rows, epochs=1), tmp_path / "run"))
    assert found["soft"] == pytest.approx(0.0, abs=1e-9)
    assert found["hard"] == pytest.approx(0.0, abs=1e-9)


def test_independent_labels_are_measured_too(tmp_path):
    spec = tiny.specification(data=tiny.multilabel_rows, epochs=1)
    found = variance_of_run(trained(spec, tmp_path / "run"))
    assert found["soft"] > 0
    assert found["hard"] > 0


class Undecided(nn.Module):
    """A student whose way depends on the values: its rows cannot be taken side by side."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(tiny.FEATURES, tiny.CLASSES)

    def forward(self, x):
        return self.body(x) if x.sum().item() > -1e9 else self.body(-x)


def test_what_cannot_be_measured_is_left_out_without_a_crash(tmp_path):
    lambdas = trained(probed(student=lambda: tiny.double_student(), epochs=1), tmp_path / "lambda")
    undecided = trained(tiny.specification(student=Undecided, probe_rows=5, epochs=1), tmp_path / "undecided")
    unlabelled = tiny.specification(data=tiny.unlabelled_rows, objective=SoftTargets(), probe_rows=5, epochs=1)
    for run in (lambdas, undecided, trained(unlabelled, tmp_path / "unlabelled")):
        found = gradient_facts({"distilled": {0: run}})
        assert found["variance"] is None
        assert found["norms"]["soft"][0] > 0


def test_the_callers_generators_stay_where_they_are(tmp_path):
    run = trained(probed(epochs=1), tmp_path / "run")
    before = torch.get_rng_state()
    variance_of_run(run)
    assert torch.equal(torch.get_rng_state(), before)


class Twice(nn.Module):
    """A student that takes a mapping and a tuple's worth of tensors."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(tiny.FEATURES, tiny.CLASSES)

    def forward(self, left, right):
        return self.body(left) + self.body(right)


def in_halves(columns):
    return {"left": columns["features"], "right": columns["features"] / 2}


def test_students_of_several_inputs_are_measured_too(tmp_path):
    found = variance_of_run(trained(tiny.specification(student=Twice, prepare=in_halves), tmp_path / "run"))
    assert found["soft"] > 0


def test_rows_taken_in_parts_give_the_same(tmp_path, monkeypatch):
    run = trained(probed(epochs=1), tmp_path / "run")
    whole = variance_of_run(run)
    monkeypatch.setattr("limbeck.evidence.gradient_variance._AT_ONCE", 500)
    parts = variance_of_run(run)
    assert (parts["soft"], parts["hard"]) == pytest.approx((whole["soft"], whole["hard"]))
