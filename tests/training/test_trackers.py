"""Trackers get what metrics.jsonl gets."""

from dataclasses import replace

import pytest

import tiny
from limbeck.errors import SpecificationError
from limbeck.objective import HardLabels
from limbeck.specification import Distillation
from limbeck.training.distill import distill
from limbeck.training.progress import Silent

SPEC = Distillation(data=tiny.splits, student=tiny.student, objective=HardLabels(), epochs=2, batch_size=16)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_gets_every_loss_and_score_that_the_records_hold(tmp_path):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = distill(replace(SPEC, track=("tensorboard",)), tmp_path / "run", watcher=Silent())
    events = accumulators.EventAccumulator(str(run.path / "trackers"))
    events.Reload()
    recorded = [record["validation"]["nll"] for record in run.records() if "validation" in record]
    assert [event.value for event in events.Scalars("validation/nll")] == pytest.approx(recorded)
    assert {"loss", "terms/hard", "rate", "gradients/norms/hard"} <= set(events.Tags()["scalars"])


def test_an_unknown_tracker_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(SpecificationError, match="no tracker 'tensorbord'"):
        distill(replace(SPEC, track=("tensorbord",)), tmp_path / "run", watcher=Silent())
    assert not (tmp_path / "run").exists()


def test_a_tracker_that_is_not_installed_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("accelerate.tracking.get_available_trackers", list)
    with pytest.raises(SpecificationError, match=r"^The tracker 'wandb' is not installed\. Run: pip install wandb\.$"):
        distill(replace(SPEC, track=("wandb",)), tmp_path / "run", watcher=Silent())
    assert not (tmp_path / "run").exists()
