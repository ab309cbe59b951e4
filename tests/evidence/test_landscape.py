"""Sharpness, the line between two students, likeness and distance: by hand, by properties, and on real runs."""

import json
import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import tiny
from limbeck.evidence.landscape import (
    EFFORTS,
    RADII,
    activations,
    barrier,
    filter_normalised,
    landscape,
    line,
    loss_rises,
    suited,
)
from limbeck.evidence.rebuilt import Net, finished, fresh, rows_and_spec
from limbeck.files import read_tensors
from limbeck.references import load
from limbeck.training.distill import distill
from limbeck.training.progress import Silent
from limbeck.types import Batch

STILL = partial(torch.optim.SGD, lr=0.0)


def trained(spec, out):
    return distill(spec, out, watcher=Silent())


def taught(out, seed=0, **changes):
    return trained(tiny.specification(**{"data": tiny.splits, "validation": 0.1, "seed": seed, **changes}), out)


def by_labels(out, seed=0, **changes):
    return trained(tiny.alone(**{"data": tiny.splits, "validation": 0.1, "seed": seed, **changes}), out)


@pytest.fixture(scope="module")
def arms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arms")
    return {
        "distilled": {seed: taught(folder / f"d{seed}", seed) for seed in (0, 1)},
        "alone": {seed: by_labels(folder / f"a{seed}", seed) for seed in (0, 1)},
    }


@pytest.fixture(scope="module")
def found(arms):
    return landscape(arms)


def as_read(features):
    return features


def net_of(module):
    return Net(module=module.eval(), prepare=as_read, head="softmax")


def batch_of(features, labels):
    return Batch({as_read: features}, labels, torch.arange(len(features)))


def rows_batch(count=tiny.ROWS):
    rows = tiny.rows(count)
    return batch_of(tiny.features(count), rows.labels)


def linear(seed):
    torch.manual_seed(seed)
    return nn.Linear(tiny.FEATURES, tiny.CLASSES)


def test_it_is_plain_json(found):
    json.dumps(found, allow_nan=False)
    assert found["seeds"] == [0, 1]
    assert found["statistics"] == "none"


# Sharpness


def test_where_nothing_is_moved_nothing_rises(found):
    assert found["sharpness"]["radius"] == list(RADII)
    for arm in ("distilled", "alone"):
        assert found["sharpness"][arm][0] == 0.0
        assert len(found["sharpness"][arm]) == len(RADII)


def test_each_filter_moves_by_its_own_norm_and_biases_stand_still():
    torch.manual_seed(0)
    weights = dict(nn.Conv2d(3, 5, 2).named_parameters())
    weights["weight"].data[2] = 0.0
    direction = filter_normalised(weights, 7)
    assert direction["weight"].flatten(1).norm(dim=1).tolist() == pytest.approx(
        weights["weight"].flatten(1).norm(dim=1).tolist(), rel=1e-5
    )
    assert not direction["bias"].any()
    again, other = filter_normalised(weights, 7), filter_normalised(weights, 8)
    assert torch.equal(again["weight"], direction["weight"])
    assert not torch.equal(other["weight"], direction["weight"])


def test_the_rise_is_that_of_the_loss_at_moved_weights():
    module, batch = linear(0), rows_batch()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    rises = loss_rises(net_of(module), batch, (0.0, 0.3), directions=2)
    features = batch.inputs[as_read]
    base = cross_entropy(features @ before["weight"].T + before["bias"], batch.labels).item()
    by_hand = []
    for number in range(2):
        moved = before["weight"] + 0.3 * filter_normalised(before, number)["weight"]
        by_hand.append(cross_entropy(features @ moved.T + before["bias"], batch.labels).item() - base)
    assert rises == [0.0, pytest.approx(sum(by_hand) / 2, rel=1e-4)]
    assert all(torch.equal(module.state_dict()[name], before[name]) for name in before)


def test_a_network_that_computes_the_same_with_other_scales_is_as_sharp():
    """Rectified units let a factor pass from layer to layer; filters that move by their own norm do not feel it."""
    torch.manual_seed(0)
    one = nn.Sequential(nn.Linear(tiny.FEATURES, 7, bias=False), nn.ReLU(), nn.Linear(7, tiny.CLASSES, bias=False))
    other = nn.Sequential(nn.Linear(tiny.FEATURES, 7, bias=False), nn.ReLU(), nn.Linear(7, tiny.CLASSES, bias=False))
    other[0].weight.data, other[2].weight.data = one[0].weight.data * 8, one[2].weight.data / 8
    first, second = (loss_rises(net_of(net), rows_batch(), RADII, 3) for net in (one, other))
    assert first == pytest.approx(second, abs=1e-5)
    assert first[-1] != 0


# The line between two students


def test_the_ends_of_the_line_are_the_students_as_they_were_validated(arms, found):
    ends = {"alone": 0, "distilled": -1}
    assert found["interpolation"]["between"] == ["alone", "distilled"]
    for arm, at in ends.items():
        told = [run.summary["student"]["validation"] for run in arms[arm].values()]
        assert found["interpolation"]["loss"][at] == pytest.approx(sum(one["nll"] for one in told) / 2, rel=1e-5)
        points = [100 * one["errors"] / one["rows"] for one in told]
        assert found["interpolation"]["errors"][at] == pytest.approx(sum(points) / 2)
    assert found["interpolation"]["alpha"] == pytest.approx([step / 10 for step in range(11)])


def test_a_convex_loss_has_no_barrier():
    losses, errors = line(net_of(linear(0)), net_of(linear(1)), [0.0, 0.25, 0.5, 0.75, 1.0], rows_batch(), rows_batch())
    assert barrier([0.0, 0.25, 0.5, 0.75, 1.0], losses) == pytest.approx(0.0, abs=1e-6)
    assert all(0 <= points <= 100 for points in errors)


def test_permuted_units_lie_beyond_a_barrier():
    """The same function with its hidden units in another order: what lies between them is another function."""
    torch.manual_seed(0)
    one, other = tiny.student(), tiny.student()
    one[0].weight.data *= 5
    order = torch.tensor([1, 2, 3, 4, 5, 6, 0])
    other.load_state_dict(one.state_dict())
    for tensor in (other[0].weight, other[0].bias):
        tensor.data = tensor.data[order]
    other[2].weight.data = other[2].weight.data[:, order]
    columns = tiny.features()
    batch = batch_of(columns, one(columns).argmax(-1))  # both are always right
    losses, errors = line(net_of(one), net_of(other), [0.0, 0.5, 1.0], batch, batch)
    assert losses[0] == pytest.approx(losses[2], rel=1e-5)
    assert barrier([0.0, 0.5, 1.0], losses) > 0.05
    assert errors[1] > errors[0] == errors[2] == 0


# BatchNorm


def normalised_student():
    return nn.Sequential(
        nn.Linear(tiny.FEATURES, 7),
        nn.BatchNorm1d(7),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(7, tiny.CLASSES),
    )


def test_statistics_are_taken_anew_for_moved_weights_and_put_back():
    torch.manual_seed(0)
    module = normalised_student()
    with torch.no_grad():
        for _ in range(3):
            module.train()(10 + 3 * tiny.features())  # statistics of rows unlike those that are asked about
    module.eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    # All filters before the normalisation grow: with its statistics taken anew, nothing changes.
    larger = net_of(normalised_student())
    larger.module.load_state_dict(before)
    for tensor in (larger.module[0].weight, larger.module[0].bias):
        tensor.data *= 3
    losses, _ = line(net_of(module), larger, [0.0, 0.5, 1.0], rows_batch(), rows_batch())
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-4)
    rises = loss_rises(net_of(module), rows_batch(), (0.0, 0.1), directions=2)
    assert rises[0] == 0.0
    after = module.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert not any(part.training for part in module.modules())
    assert module[1].momentum == 0.1


def test_students_with_batch_norm_say_so(tmp_path):
    changes = {"student": normalised_student, "epochs": 1}
    runs = {
        "distilled": {0: taught(tmp_path / "d", **changes)},
        "alone": {0: by_labels(tmp_path / "a", **changes)},
    }
    found = landscape(runs)
    assert found["statistics"] == "taken anew"
    assert found["interpolation"] is not None
    assert found["sharpness"]["distilled"][0] == 0.0
    assert found["cka"]["layers"] == ["0", "1", "2", "4"]  # dropout is silent
    assert found["cka"]["distilled·distilled"] is None  # one seed only


# Inside


class Overwriting(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.gate, self.spare = nn.Linear(tiny.FEATURES, 7), nn.ReLU(inplace=True), nn.Linear(2, 2)

    def forward(self, x):
        return self.gate(self.body(x))


def test_activations_are_those_of_called_layers_before_the_next_one_writes_over_them():
    torch.manual_seed(0)
    module = Overwriting()
    found = activations(net_of(module), rows_batch())
    assert list(found) == ["body", "gate"]
    assert (found["body"] < 0).any()
    assert torch.equal(found["gate"], found["body"].clamp_min(0))
    assert not any(part._forward_hooks for part in module.modules())


def test_layers_are_as_alike_as_kernel_alignment_says(found):
    assert found["cka"]["layers"] == ["0", "1", "2"]
    for pair in ("distilled·alone", "distilled·distilled"):
        assert all(0 < value <= 1 for value in found["cka"][pair])


def test_an_arm_is_like_itself_and_no_way_from_itself(arms):
    found = landscape({"distilled": arms["distilled"], "alone": arms["distilled"]})
    assert found["cka"]["distilled·alone"] == pytest.approx([1.0] * 3)
    assert found["distance"]["distilled·alone"] == 0.0
    assert found["distance"]["start·alone"] == found["distance"]["start·distilled"] > 0
    assert found["interpolation"]["barrier"] == pytest.approx(0.0, abs=1e-6)
    assert found["sharpness"]["alone"] == found["sharpness"]["distilled"]


# Distance


def test_distances_are_relative_to_the_start(arms, found):
    told = {"distilled·alone": [], "start·distilled": [], "start·alone": []}
    for seed in (0, 1):
        torch.manual_seed(seed)
        flat = [torch.cat([part.flatten() for part in tiny.student().parameters()])]
        for arm in ("distilled", "alone"):
            weights = read_tensors(arms[arm][seed].weights)
            flat.append(torch.cat([weights[name].flatten() for name in ("0.weight", "0.bias", "2.weight", "2.bias")]))
        start, distilled, alone = flat
        told["distilled·alone"].append((distilled - alone).norm() / start.norm())
        told["start·distilled"].append((distilled - start).norm() / start.norm())
        told["start·alone"].append((alone - start).norm() / start.norm())
    for name, values in told.items():
        assert found["distance"][name] == pytest.approx(sum(values).item() / 2, rel=1e-5)


def test_a_student_that_never_moved_is_where_it_began(tmp_path):
    runs = {
        "distilled": {3: taught(tmp_path / "d", 3, optimizer=STILL, epochs=1)},
        "alone": {3: by_labels(tmp_path / "a", 3, epochs=1)},
    }
    found = landscape(runs)
    assert found["distance"]["start·distilled"] == 0.0
    assert found["distance"]["start·alone"] == found["distance"]["distilled·alone"] > 0
    begun = fresh(runs["distilled"][3]).module.state_dict()
    ended = finished(runs["distilled"][3]).module.state_dict()
    assert all(torch.equal(begun[name], ended[name]) for name in begun)


# What is missing


def wider_student():
    return nn.Sequential(nn.Linear(tiny.FEATURES, 11), nn.ReLU(), nn.Linear(11, tiny.CLASSES))


def test_other_shapes_cannot_be_joined_by_a_line_but_compared(arms, tmp_path):
    runs = {"distilled": arms["distilled"], "alone": {0: by_labels(tmp_path / "a", student=wider_student)}}
    found = landscape({"distilled": {0: arms["distilled"][0]}, "alone": runs["alone"]})
    assert found["interpolation"] is None
    assert found["distance"] is None
    assert found["cka"]["layers"] == ["0", "1", "2"]
    assert found["sharpness"]["alone"][-1] is not None


def test_without_the_student_alone_only_the_sharpness_remains(arms):
    found = landscape({"distilled": arms["distilled"]})
    assert set(found["sharpness"]) == {"radius", "distilled"}
    assert (found["interpolation"], found["cka"], found["distance"]) == (None, None, None)


def test_without_validation_rows_there_is_no_line(tmp_path):
    changes = {"data": tiny.rows, "validation": None, "epochs": 1}
    runs = {"distilled": {0: taught(tmp_path / "d", **changes)}, "alone": {0: by_labels(tmp_path / "a", **changes)}}
    found = landscape(runs)
    assert found["interpolation"] is None
    assert found["distance"]["distilled·alone"] > 0


FILE = """
import tiny
from limbeck.data.splits import Splits

def splits():
    return Splits(train=tiny.rows(), validation=tiny.rows(19, seed=1), test=tiny.rows(17, seed=2))
"""


def test_runs_that_cannot_be_brought_back_say_nothing(tmp_path):
    nameless = taught(tmp_path / "nameless", student=lambda: tiny.student(), epochs=1)
    assert landscape({"distilled": {0: nameless}}) is None
    file = tmp_path / "rows.py"
    file.write_text(FILE)
    run = taught(tmp_path / "run", data=load(f"{file}:splits"), epochs=1)
    assert landscape({"distilled": {0: run}}) is not None
    file.write_text(FILE.replace("train=tiny.rows()", "train=tiny.rows(seed=5)"))
    assert rows_and_spec(run) is None  # other rows than it was trained on
    assert landscape({"distilled": {0: run}}) is None
    file.unlink()
    assert landscape({"distilled": {0: run}}) is None


def test_a_student_whose_source_has_changed_says_nothing(tmp_path):
    file = tmp_path / "model.py"
    file.write_text("import tiny\n\ndef net():\n    return tiny.student()\n")
    run = taught(tmp_path / "run", student=load(f"{file}:net"), epochs=1)
    file.write_text("import tiny\n\ndef net():\n    return tiny.student().eval()\n")
    assert landscape({"distilled": {0: run}}) is None


class Untouchable:
    """Rows that may be counted and compared, and not read."""

    made = 0

    def __init__(self, rows):
        self._rows = rows
        Untouchable.made += 1

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._rows, name)

    def __len__(self):
        return len(self._rows)

    def rows(self, positions):
        raise AssertionError("a test row was read")


def test_no_test_row_is_read(arms, monkeypatch):
    monkeypatch.setattr(tiny, "splits", guarded_splits_of(tiny.splits))
    assert landscape(arms) is not None
    assert Untouchable.made == 1


def guarded_splits_of(splits):
    def splits_guarded():
        found = splits()
        return replace(found, test=Untouchable(found.test))

    return splits_guarded


def test_the_callers_generators_stay_where_they_are(arms):
    before = torch.get_rng_state()
    landscape(arms, replace(EFFORTS[0], seeds=1, directions=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_fewer_rows_directions_and_seeds_can_be_asked_for(arms):
    found = landscape(arms, replace(EFFORTS[0], seeds=1, rows=11, directions=1, compared=7))
    assert found["seeds"] == [0]
    assert all(math.isfinite(value) for value in found["sharpness"]["distilled"])


def test_independent_labels_are_wrong_where_any_decision_is(tmp_path):
    changes = {"data": tiny.multilabel_rows, "validation": 0.3, "epochs": 1}
    runs = {"distilled": {0: taught(tmp_path / "d", **changes)}, "alone": {0: by_labels(tmp_path / "a", **changes)}}
    found = landscape(runs)
    for arm, at in (("alone", 0), ("distilled", -1)):
        answers = runs[arm][0].predictions("student", "validation")
        wrong = ((answers.logits > 0) != (answers.labels > 0.5)).any(-1).double().mean()
        assert found["interpolation"]["errors"][at] == pytest.approx(100 * wrong.item())
    assert found["sharpness"]["distilled"][-1] is not None


def test_the_larger_the_student_the_less_is_looked_at():
    chosen = [suited(10.0**power, statistics=False) for power in range(3, 12)]
    assert chosen[0] == EFFORTS[0]
    assert chosen[-1] == EFFORTS[-1]
    assert [EFFORTS.index(one) for one in chosen] == sorted(EFFORTS.index(one) for one in chosen)
    assert EFFORTS.index(suited(2e6, statistics=True)) >= EFFORTS.index(suited(2e6, statistics=False))
