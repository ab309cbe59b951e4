"""The loop against thirty lines of plain PyTorch, and against itself in other splits."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from limbeck.errors import SpecificationError
from limbeck.files import read_tensors
from limbeck.functional import hinton_kd
from limbeck.objective import HardLabels, LogitMatching, SoftTargets
from limbeck.schedules import Cosine, Linear
from limbeck.training.distill import distill
from limbeck.training.progress import Silent
from plain import hard_loss_of_labels, plain_training, soft_loss, soft_loss_of_labels
from tiny import (
    ADAM,
    MOMENTUM,
    alone,
    both,
    cosine,
    double,
    double_student,
    double_teacher,
    dropout_student,
    features,
    multilabel_rows,
    rows,
    specification,
    splits,
    student,
    teacher,
    unlabelled_rows,
)
from tolerances import assert_close

EPOCHS, BATCH = 3, 8


def trained(spec, out):
    return read_tensors(distill(spec, out, watcher=Silent()).weights)


def assert_same_weights(found, expected, *, bitwise=False):
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        if bitwise:
            assert torch.equal(tensor, expected[name]), name
        else:
            assert_close(tensor, expected[name].detach())


def plain(**changes):
    arguments = {
        "student": double_student,
        "teacher": double_teacher(),
        "inputs": features().double(),
        "labels": rows().labels,
        "optimizer": ADAM,
        "epochs": EPOCHS,
        "batch_size": BATCH,
    }
    return plain_training(**{**arguments, **changes}).state_dict()


def mixed(z, v, y, step):
    return 0.7 * soft_loss(z, v, 4.0) + 0.3 * F.cross_entropy(z, y)


def test_a_taught_student_ends_where_plain_torch_ends(tmp_path):
    found = trained(double(epochs=EPOCHS), tmp_path / "run")
    assert_same_weights(found, plain(loss=mixed))


def test_a_student_of_labels_alone_ends_where_plain_torch_ends(tmp_path):
    found = trained(double(epochs=EPOCHS, teacher=None, objective=HardLabels()), tmp_path / "run")
    assert_same_weights(found, plain(loss=lambda z, v, y, step: F.cross_entropy(z, y)))


def test_clipping_and_a_rate_schedule_act_as_in_plain_torch(tmp_path):
    changes = {"optimizer": MOMENTUM, "schedule": cosine}
    found = trained(double(epochs=EPOCHS, clip_norm=0.05, **changes), tmp_path / "run")
    assert_same_weights(found, plain(loss=mixed, clip=0.05, **changes))


def test_clipping_changes_where_the_student_ends(tmp_path):
    loose, tight = (plain(loss=mixed, optimizer=MOMENTUM, clip=norm) for norm in (None, 0.05))
    assert not torch.allclose(loose["0.weight"], tight["0.weight"])


def test_weights_and_temperatures_may_follow_schedules_of_the_step(tmp_path):
    weight, temperature = Linear(start=0.9, stop=0.1, steps=10), Cosine(start=8.0, stop=1.0, steps=13)
    objective = weight * SoftTargets(temperature=temperature) + 0.3 * HardLabels()

    def loss(z, v, y, step):
        return weight(step) * soft_loss(z, v, temperature(step)) + 0.3 * F.cross_entropy(z, y)

    found = trained(double(epochs=EPOCHS, objective=objective), tmp_path / "run")
    assert_same_weights(found, plain(loss=loss))


def test_unlabelled_rows_are_learnt_from_soft_targets_alone(tmp_path):
    spec = double(epochs=EPOCHS, data=unlabelled_rows, objective=SoftTargets(temperature=2.0))
    found = trained(spec, tmp_path / "run")
    assert_same_weights(found, plain(loss=lambda z, v, y, step: soft_loss(z, v, 2.0), labels=None))


def test_a_sigmoid_head_is_taught_label_by_label(tmp_path):
    def loss(z, v, y, step):
        return 0.7 * soft_loss_of_labels(z, v, 4.0) + 0.3 * hard_loss_of_labels(z, y)

    found = trained(double(epochs=EPOCHS, data=multilabel_rows), tmp_path / "run")
    assert_same_weights(found, plain(loss=loss, labels=multilabel_rows().labels))


def test_matched_logits_are_half_a_mean_squared_difference_of_centred_logits(tmp_path):
    def loss(z, v, y, step):
        difference = (z - z.mean(-1, keepdim=True)) - (v - v.mean(-1, keepdim=True))
        return 0.5 * difference.square().mean(-1).mean()

    found = trained(double(epochs=EPOCHS, objective=LogitMatching()), tmp_path / "run")
    assert_same_weights(found, plain(loss=loss))


def test_smoothed_labels_are_those_of_torch(tmp_path):
    found = trained(double(epochs=EPOCHS, teacher=None, objective=HardLabels(smoothing=0.2)), tmp_path / "run")
    assert_same_weights(found, plain(loss=lambda z, v, y, step: F.cross_entropy(z, y, label_smoothing=0.2)))


def test_with_dropout_and_validation_rows_float32_weights_are_equal_bit_by_bit(tmp_path):
    def loss(z, v, y, step):  # the same sums in the same order: the objective's, divided once
        total = 0.7 * hinton_kd(z, v, temperature=4.0).sum() + 0.3 * F.cross_entropy(z, y, reduction="sum")
        return total * (1 / len(z))

    spec = specification(data=splits, student=dropout_student, epochs=EPOCHS, validation=0.1, probe_rows=11)
    run = distill(spec, tmp_path / "run", watcher=Silent())
    expected = plain(loss=loss, student=dropout_student, teacher=teacher(), inputs=features())
    # The last checkpoint is the last step's; what is kept is the best on the validation rows.
    last = read_tensors(next(run.checkpoints.glob("last-*")) / "student.safetensors")
    assert_same_weights(last, expected, bitwise=True)


def test_bfloat16_forward_passes_stay_near_float32(tmp_path):
    # Not Adam, which divides by the gradient's size and so makes much of a rounding.
    wide, narrow = (
        trained(specification(precision=precision, optimizer=MOMENTUM), tmp_path / precision)
        for precision in ("float32", "bfloat16")
    )
    for name, tensor in wide.items():
        assert narrow[name].dtype == torch.float32
        torch.testing.assert_close(narrow[name], tensor, rtol=0, atol=1e-2)  # 8 bits, 14 steps of 5e-2
    assert any(not torch.equal(narrow[name], tensor) for name, tensor in wide.items())


@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("parts", [2, 3, 7, 11])
def test_micro_batches_of_any_number_take_the_same_steps(tmp_path, parts, clip):
    whole, split = (
        trained(double(microbatches=count, clip_norm=clip, schedule=cosine), tmp_path / str(count))
        for count in (1, parts)
    )
    assert_same_weights(split, whole)


def test_micro_batches_leave_the_same_records(tmp_path):
    whole, split = (
        distill(double(data=splits, microbatches=count, log_every=3), tmp_path / str(count), watcher=Silent())
        for count in (1, 3)
    )
    for expected, found in zip(whole.records(), split.records(), strict=True):
        assert found["step"] == expected["step"]
        if "loss" in expected:
            assert found["loss"] == pytest.approx(expected["loss"], rel=1e-10)


def batchnorm_student():
    return nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Linear(7, 3))


def test_more_micro_batches_than_rows_of_the_last_batch_pass_the_empty_ones_over(tmp_path):
    spec = alone(data=partial(rows, 52), student=batchnorm_student, batch_size=16, microbatches=2, epochs=1)
    assert trained(spec, tmp_path / "two")["1.num_batches_tracked"] == 8
    spec = alone(data=partial(rows, 34), student=student, batch_size=16, microbatches=3, epochs=1)
    trained(spec, tmp_path / "three")


def test_a_student_that_fails_on_a_batch_is_told_of_in_one_sentence(tmp_path):
    spec = alone(data=partial(rows, 33), student=batchnorm_student, batch_size=16, epochs=1)
    with pytest.raises(SpecificationError, match="at step 2 on a batch of 1, raised ValueError: Expected more than"):
        distill(spec, tmp_path / "run", watcher=Silent())


def test_records_hold_the_mean_of_each_term_over_the_rows_since_the_last(tmp_path):
    run = distill(specification(log_every=5, optimizer=partial(torch.optim.SGD, lr=0.0)), tmp_path / "run")
    model, answers = student_of_seed(0), teacher()
    columns, labels = features(), rows().labels
    with torch.no_grad():
        expected_soft = hinton_kd(model(columns), answers(columns), temperature=4.0).mean().item()
        expected_hard = F.cross_entropy(model(columns), labels).item()
    shown = [record for record in run.records() if "terms" in record]
    assert [record["step"] for record in shown] == [5, 7, 10, 14]
    # At a rate of zero the student stands still: the records of an epoch, weighted by rows, average to the whole.
    sizes = {5: 40, 7: 13}
    for name, expected in (("soft", expected_soft), ("hard", expected_hard)):
        mean = sum(record["terms"][name] * sizes[record["step"]] for record in shown[:2]) / 53
        assert mean == pytest.approx(expected, rel=1e-5)
    for record in shown:
        assert record["loss"] == pytest.approx(both().weighted(record["terms"], 0))


def student_of_seed(seed):
    torch.manual_seed(seed)
    return student()


def test_the_probe_measures_the_gradients_of_the_weighted_terms(tmp_path):
    run = distill(double(epochs=1, probe_rows=64), tmp_path / "run")  # more than there are: all rows
    first = next(run.records())["gradients"]
    torch.manual_seed(0)
    model, inputs = double_student(), features().double()
    z, v = model(inputs), double_teacher()(inputs)
    gradients = {}
    for name, loss in (("soft", 0.7 * soft_loss(z, v, 4.0)), ("hard", 0.3 * F.cross_entropy(z, rows().labels))):
        parts = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
        gradients[name] = torch.cat([part.flatten() for part in parts])
        assert first["norms"][name] == pytest.approx(gradients[name].norm().item(), rel=1e-8)
    assert first["dots"]["soft·hard"] == pytest.approx((gradients["soft"] @ gradients["hard"]).item(), rel=1e-8)


def test_the_probe_does_not_change_the_training(tmp_path):
    with_probe, without = (
        trained(specification(student=dropout_student, probe_rows=count), tmp_path / str(count)) for count in (13, 0)
    )
    assert_same_weights(with_probe, without, bitwise=True)


def test_worker_processes_do_not_change_the_training(tmp_path):
    here, apart = (
        trained(specification(student=dropout_student, workers=count, epochs=1), tmp_path / str(count))
        for count in (0, 2)
    )
    assert_same_weights(apart, here, bitwise=True)


def test_one_process_does_without_accelerate(run_python, tmp_path):
    script = """
import sys
from tiny import specification
from limbeck.training.distill import distill
distill(specification(microbatches=2, clip_norm=1.0), sys.argv[1])
assert "accelerate" not in sys.modules, "a single process imports Accelerate"
"""
    assert run_python(script, tmp_path / "run").returncode == 0
