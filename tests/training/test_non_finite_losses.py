"""A loss that is no number stops a run at once, and what was good before is kept."""

from functools import partial

import pytest
import torch

from limbeck.data.tensors import TensorSet
from limbeck.errors import NonFiniteLoss
from limbeck.files import read_tensors
from limbeck.objective import HardLabels, SoftTargets
from limbeck.training.distill import distill
from limbeck.training.loop import FiniteGuard
from limbeck.training.progress import Silent
from tiny import ADAM, NAMES, alone, features, rows, specification, student, teacher

NAN_ROWS = (17, 23)
IDS = torch.arange(53) + 1000


def rows_with_nan():
    columns = features()
    columns[list(NAN_ROWS), 3] = torch.nan
    return TensorSet(columns, labels=rows().labels, classes=NAMES, ids=IDS)


def test_the_term_the_step_and_the_rows_are_named(tmp_path):
    spec = alone(data=rows_with_nan, batch_size=53, epochs=3)
    with pytest.raises(NonFiniteLoss, match=r"Term 'hard' became NaN at step 0 on row ids (1017, 1023|1023, 1017);"):
        distill(spec, tmp_path / "run", watcher=Silent())


def test_in_a_small_batch_only_its_own_rows_are_named(tmp_path):
    spec = specification(data=rows_with_nan, objective=SoftTargets(temperature=2.0), batch_size=1, epochs=3)
    with pytest.raises(NonFiniteLoss, match=r"Term 'soft' became NaN at step \d+ on row ids 10(17|23);"):
        distill(spec, tmp_path / "run", watcher=Silent())


def nan_teacher():
    net = teacher()
    with torch.no_grad():
        net[2].bias[1] = torch.inf
    return net


def test_a_teacher_that_answers_no_numbers_is_found(tmp_path):
    with pytest.raises(NonFiniteLoss, match="Term 'soft' became NaN at step 0"):
        distill(specification(teacher=nan_teacher), tmp_path / "run", watcher=Silent())


def test_many_rows_are_counted_not_listed(tmp_path):
    with pytest.raises(NonFiniteLoss, match=r"on row ids (\d+, ){7}\d+ and 45 more;"):
        distill(specification(teacher=nan_teacher, batch_size=53), tmp_path / "run", watcher=Silent())


def explodes_at_step_16(optimizer, steps):
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 if step < 15 else 1e38)


def test_the_last_good_checkpoint_is_kept(tmp_path):
    good = {"data": rows, "optimizer": ADAM, "epochs": 5, "checkpoint_seconds": 0}
    with pytest.raises(NonFiniteLoss, match=r"became (NaN|infinite) at step 16"):
        distill(alone(schedule=explodes_at_step_16, **good), tmp_path / "run", watcher=Silent())
    (last,) = (tmp_path / "run" / "checkpoints").glob("last-*")
    assert last.name == "last-00000014"
    weights = read_tensors(last / "student.safetensors")
    student().load_state_dict(weights)
    assert all(tensor.isfinite().all() for tensor in weights.values())
    assert not (tmp_path / "run" / "summary.json").exists()


def grows(step):
    return 1.0 if step < 9 else 3e38


def test_weights_that_grow_beyond_all_numbers_are_blamed_on_no_term(tmp_path):
    with pytest.raises(NonFiniteLoss, match=r"The sum of the terms became infinite at step 9; .* Lower the terms'"):
        distill(alone(objective=grows * HardLabels()), tmp_path / "run", watcher=Silent())


def test_where_a_look_would_wait_for_the_device_the_loss_before_is_looked_at():
    spec = alone(objective=HardLabels())
    bad, good = (
        spec.goal(_answers(value), None, torch.tensor([0, 1]), step) for step, value in ((4, torch.nan), (5, 1.0))
    )
    ids = torch.tensor([8, 9])
    guard = FiniteGuard(torch.device("meta"))  # any device that is not the CPU
    guard.look(bad, ids, 4)
    with pytest.raises(NonFiniteLoss, match="at step 4 on row ids 8, 9;"):
        guard.look(good, ids, 5)
    guard = FiniteGuard(torch.device("meta"))
    guard.look(bad, ids, 4)
    with pytest.raises(NonFiniteLoss, match="at step 4"):
        guard.settle()


def _answers(value):
    from limbeck.types import LogitKnowledge

    return LogitKnowledge(torch.full((2, 3), value))


def test_a_finite_run_is_not_stopped(tmp_path):
    spec = alone(optimizer=partial(torch.optim.SGD, lr=1e-2), clip_norm=1.0)
    assert distill(spec, tmp_path / "run", watcher=Silent()).finished
