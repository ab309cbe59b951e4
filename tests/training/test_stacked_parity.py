"""A stack of runs against the same runs one by one: weights, answers, records and checkpoints of each replica."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from limbeck.data.augment import Noise
from limbeck.files import read_tensors
from limbeck.functional import reverse_kl
from limbeck.objective import HardLabels, LogitMatching, SoftTargets
from limbeck.schedules import Linear
from limbeck.training.distill import distill
from limbeck.training.forms import Form
from limbeck.training.progress import Silent
from limbeck.training.recording import record
from limbeck.training.stacking.distill import distill_stacked
from tiny import (
    CLASSES,
    FEATURES,
    FUSED,
    MOMENTUM,
    channels_last_student,
    cosine,
    doubled,
    dropout_student,
    specification,
    splits,
    unlabelled_rows,
)

EPOCHS = 8
"""Of seven steps each, the last on five rows: more than fifty steps."""

TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}
"""Of float32 weights after those steps; a weight near zero may differ by a thousandth of one step of Adam."""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("targets") / "store"
    record(specification(data=splits, probe_rows=0), path, watcher=Silent())
    return path


@pytest.fixture
def base(store):
    return specification(data=splits, teacher=None, targets=store, epochs=EPOCHS, validation=0.1, probe_rows=11)


def both_ways(specs, folder):
    """The runs of a stack and, by the same names, those one by one."""
    jobs = [(spec, folder / "stacked" / str(number)) for number, spec in enumerate(specs)]
    stacked = distill_stacked(jobs, watcher=Silent())
    assert [run.path for run in stacked] == [out for _, out in jobs]
    alone = [distill(spec, folder / "alone" / str(number), watcher=Silent()) for number, spec in enumerate(specs)]
    return list(zip(stacked, alone, strict=True))


def assert_same(found, expected, **tolerance):
    """Compare numbers in nested mappings and lists, all else exactly."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected:
            assert_same(found[name], expected[name], **tolerance)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            assert_same(ours, theirs, **tolerance)
    elif isinstance(expected, torch.Tensor):
        torch.testing.assert_close(found, expected, **tolerance)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-5)
    else:
        assert found == expected


def last_of(run, name="student"):
    (folder,) = run.checkpoints.glob("last-*")
    return read_tensors(folder / f"{name}.safetensors")


def assert_same_runs(pairs, tolerance=TOLERANCE):
    for stacked, alone in pairs:
        assert_same(last_of(stacked), last_of(alone), **tolerance)
        assert_same(read_tensors(stacked.weights), read_tensors(alone.weights), **tolerance)
        for split in ("train", "validation", "test"):
            ours, theirs = (run.predictions("student", split) for run in (stacked, alone))
            if theirs is None:
                assert ours is None
                continue
            assert torch.equal(ours.logits.argmax(-1), theirs.logits.argmax(-1))
            torch.testing.assert_close(ours.logits, theirs.logits, rtol=1e-4, atol=1e-4)
            assert torch.equal(ours.ids, theirs.ids)
        assert_same(list(stacked.records()), list(alone.records()))


def test_seeds_and_arms_end_where_each_ends_alone(base, tmp_path):
    objectives = [
        0.7 * SoftTargets(temperature=4.0) + 0.3 * HardLabels(),
        HardLabels(smoothing=0.1),
        Linear(start=0.9, stop=0.1, steps=30) * SoftTargets(temperature=2.0) + 1.0 * HardLabels(),
        SoftTargets(temperature=Linear(start=8.0, stop=1.0, steps=40)) + LogitMatching(),
    ]
    specs = [replace(base, objective=objective, seed=seed) for objective in objectives for seed in (0, 3)]
    assert_same_runs(both_ways(specs, tmp_path))


def test_each_has_its_own_optimiser_schedule_and_clipping(base, tmp_path):
    specs = [
        replace(base, seed=1),
        replace(base, optimizer=MOMENTUM, schedule=cosine, seed=2),
        replace(base, optimizer=partial(torch.optim.Adam, lr=3e-3), clip_norm=0.5, seed=1),
        replace(base, optimizer=MOMENTUM, schedule=cosine, clip_norm=0.05, seed=5),
        replace(base, optimizer=partial(torch.optim.SGD, lr=0.1, weight_decay=0.01, nesterov=True, momentum=0.8)),
    ]
    assert_same_runs(both_ways(specs, tmp_path))


def test_each_has_its_own_limit_on_the_norms_of_weights(base, tmp_path):
    limits = [0.4, None, 0.7, 0.7]
    specs = [replace(base, max_norm=limit, seed=seed, epochs=8 - seed) for seed, limit in enumerate(limits)]
    pairs = both_ways(specs, tmp_path)
    assert_same_runs(pairs)
    longest = [last_of(stacked)["0.weight"].norm(dim=1).max().item() for stacked, _ in pairs]
    assert longest == [pytest.approx(0.4), longest[1], pytest.approx(0.7), pytest.approx(0.7)]
    assert longest[1] > 0.8


@pytest.mark.parametrize(
    "name", ["AdamW", "RMSprop", "Adagrad", "Adadelta", "NAdam", "RAdam", "Adamax", "Rprop", "ASGD"]
)
def test_optimisers_of_torch_that_treat_every_number_alike(base, tmp_path, name):
    factory = partial(getattr(torch.optim, name), lr=0.003)
    specs = [replace(base, optimizer=factory, seed=seed, epochs=3, probe_rows=0) for seed in range(2)]
    assert_same_runs(both_ways(specs, tmp_path))


@pytest.mark.parametrize("name", ["Adam", "AdamW", "Adagrad", "SGD"])
@pytest.mark.parametrize("way", ["fused", "foreach"])
def test_the_ways_in_which_torch_runs_an_optimiser(base, tmp_path, name, way):
    # Fused ones walk through gradient and parameter as they lie in memory, whatever their strides say.
    factory = partial(getattr(torch.optim, name), lr=0.003, **{way: True})
    specs = [replace(base, optimizer=factory, seed=seed, epochs=3, probe_rows=0) for seed in range(2)]
    assert_same_runs(both_ways(specs, tmp_path))


def test_dropout_masks_are_those_that_each_would_draw_alone(base, tmp_path):
    specs = [replace(base, student=student, seed=seed) for student in (dropout_student,) for seed in range(3)]
    pairs = both_ways(specs, tmp_path)
    assert_same_runs(pairs)
    for stacked, alone in pairs:  # and what comes after, if more epochs are asked for, is the same too
        assert torch.equal(*(last_of(run, "training")["random.torch"] for run in (stacked, alone)))


def normalised_student():
    # No bias before the normalisation: its gradient would be nothing but rounding, which Adam makes whole steps of.
    layers = [nn.Linear(FEATURES, 11, bias=False), nn.BatchNorm1d(11), nn.ReLU(), nn.Dropout(0.2)]
    return nn.Sequential(*layers, nn.Linear(11, 7), nn.Dropout(0.1, inplace=True), nn.Linear(7, CLASSES))


def test_batch_norm_keeps_the_statistics_of_each(base, tmp_path):
    specs = [replace(base, student=normalised_student, seed=seed) for seed in range(3)]
    pairs = both_ways(specs, tmp_path)
    assert_same_runs(pairs)
    first, second = (last_of(run)["1.running_mean"] for run, _ in pairs[:2])
    assert not torch.allclose(first, second)
    assert last_of(pairs[0][0])["1.num_batches_tracked"] == 7 * EPOCHS


class Tied(nn.Module):
    """Called with a shared weight, a frozen one and one that is never used."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(FEATURES, FEATURES), nn.Linear(FEATURES, FEATURES)
        self.second.weight = self.first.weight
        self.frozen = nn.Linear(FEATURES, 7).requires_grad_(False)
        self.unused = nn.Linear(3, 2)
        self.last = nn.Linear(7, CLASSES)

    def forward(self, x):
        return {"logits": self.last(self.frozen(self.second(self.first(x).tanh()).tanh()))}


def test_tied_frozen_and_unused_weights(base, tmp_path):
    decay = partial(torch.optim.AdamW, lr=0.01, weight_decay=0.1)
    assert_same_runs(
        both_ways([replace(base, student=Tied, seed=seed, optimizer=decay) for seed in range(2)], tmp_path)
    )


def test_weights_with_channels_last_under_a_fused_optimiser(base, tmp_path):
    specs = [replace(base, student=channels_last_student, seed=seed, optimizer=FUSED) for seed in range(2)]
    assert_same_runs(both_ways(specs, tmp_path))


def test_replicas_may_stop_at_different_epochs(base, tmp_path):
    specs = [
        replace(base, student=dropout_student, seed=seed, epochs=epochs, schedule=cosine)
        for epochs, seed in ((5, 0), (2, 1), (5, 2), (8, 0))
    ]
    pairs = both_ways(specs, tmp_path)
    assert_same_runs(pairs)
    assert [run.summary["steps"] for run, _ in pairs] == [35, 14, 35, 56]


def test_warm_started_students_of_another_factory_join_the_stack(base, tmp_path):
    specs = [replace(base, student=dropout_student), replace(base, student=shifted_student)]
    assert_same_runs(both_ways(specs, tmp_path))


def shifted_student():
    net = dropout_student()
    with torch.no_grad():
        net[0].bias.add_(0.5)
    return net


def rowwise_reversed(student, teacher, *, temperature):
    """A divergence of the user's, which a stack asks each replica for apart."""
    return reverse_kl(student, teacher, temperature=temperature)


def test_a_divergence_of_the_users_own(base, tmp_path):
    goal = 0.5 * SoftTargets(temperature=2.0, divergence=rowwise_reversed) + 0.5 * HardLabels()
    assert_same_runs(both_ways([replace(base, objective=goal, seed=seed) for seed in range(2)], tmp_path))


@pytest.mark.parametrize("form", [Form(encoding="top-k", k=2, temperatures=(2.0,)), Form(temperatures=(2.0,))], ids=str)
def test_views_and_partial_answers(tmp_path, form):
    live = specification(data=splits, augment=Noise(0.1), views=3, probe_rows=5, epochs=5, validation=0.1)
    record(live, tmp_path / "store", form=form, watcher=Silent())
    taught = replace(live, teacher=None, targets=tmp_path / "store")
    objective = 0.7 * SoftTargets(temperature=2.0) + 0.3 * HardLabels()
    specs = [replace(taught, objective=objective, seed=seed) for seed in range(2)]
    specs.append(replace(taught, targets=None, objective=HardLabels()))
    assert_same_runs(both_ways(specs, tmp_path))


def test_without_labels_and_without_validation_rows(store, tmp_path):
    record(specification(data=unlabelled_rows), tmp_path / "store", watcher=Silent())
    base = specification(
        data=unlabelled_rows,
        teacher=None,
        targets=tmp_path / "store",
        objective=SoftTargets(),
        log_every=3,
        keep_every=1,
    )
    pairs = both_ways([replace(base, seed=seed) for seed in range(2)], tmp_path)
    assert_same_runs(pairs)
    assert_same_runs(both_ways([replace(base, seed=seed, validation=0.2) for seed in range(2)], tmp_path / "held"))
    for stacked, alone in pairs:
        kept = [sorted(path.name for path in run.checkpoints.iterdir()) for run in (stacked, alone)]
        assert kept[0] == kept[1] == ["kept-00000007", "kept-00000014", "last-00000014"]
        ours, theirs = (
            read_tensors(run.checkpoints / "kept-00000007" / "student.safetensors") for run in (stacked, alone)
        )
        assert_same(ours, theirs, **TOLERANCE)


def double_dropout_student():
    return dropout_student().double()


def test_in_float64_nothing_but_rounding_differs(base, tmp_path):
    precise = replace(base, student=double_dropout_student, prepare=doubled, clip_norm=0.5)
    pairs = both_ways([replace(precise, seed=seed, optimizer=MOMENTUM) for seed in range(2)], tmp_path)
    assert_same_runs(pairs, {"rtol": 1e-10, "atol": 1e-10})


def test_the_optimisers_state_goes_on_where_a_run_of_its_own_would(base, tmp_path):
    specs = [replace(base, student=dropout_student, optimizer=MOMENTUM, seed=seed, epochs=4) for seed in range(2)]
    for (stacked, alone), spec in zip(both_ways(specs, tmp_path), specs, strict=True):
        longer = replace(spec, epochs=6)
        found, expected = (distill(longer, run.path, resume=True, watcher=Silent()) for run in (stacked, alone))
        assert_same_runs([(found, expected)])


class Preparing(nn.Module):
    """Brings its own `prepare`, a method of each student."""

    def __init__(self):
        super().__init__()
        self.inner = dropout_student()

    def prepare(self, columns):
        return {"x": columns["features"] / 2}

    def forward(self, x):
        return (self.inner(x),)


def test_students_with_a_prepare_of_their_own(base, tmp_path):
    assert_same_runs(both_ways([replace(base, student=Preparing, seed=seed) for seed in range(2)], tmp_path))


class Convolved(nn.Module):
    """Sees the features as a picture of one line."""

    def __init__(self):
        super().__init__()
        layers = [nn.Conv1d(1, 4, 3, bias=False), nn.BatchNorm1d(4), nn.GELU(), nn.Dropout(0.2), nn.Flatten()]
        self.inner = nn.Sequential(*layers, nn.LayerNorm(12), nn.Linear(12, CLASSES))

    def forward(self, x):
        return self.inner(x.unsqueeze(1))


def test_convolutions(base, tmp_path):
    specs = [replace(base, student=Convolved, optimizer=MOMENTUM, seed=seed) for seed in range(2)]
    assert_same_runs(both_ways(specs, tmp_path))
