import warnings

import pytest
import torch

from limbeck.errors import LimbeckWarning
from limbeck.targets.encodings.dense import DenseLogits
from limbeck.targets.imports.arrays import predictions
from limbeck.targets.imports.open import targets_of
from limbeck.targets.imports.suspicions import (
    Agreement,
    MemorisedTargets,
    MisalignedTargets,
    agreement,
    warn_if_memorised,
    warn_if_misaligned,
)
from limbeck.types import LogitKnowledge, Sampled, TopK
from tolerances import assert_close


class Told:
    """Knowledge that is one answer."""

    def __init__(self, answer):
        self.answer, self.features = answer, {}

    def at(self, temperature):
        return self.answer


def labels(rows=997, classes=7, seed=0):
    return torch.randint(0, classes, (rows,), generator=torch.Generator().manual_seed(seed))


def knowing(given, classes=7, wrong=0):
    """Logits whose likeliest class is the label, but for the first rows."""
    logits = torch.nn.functional.one_hot(given, classes).float() * 4
    logits[:wrong] = logits[:wrong].roll(1, dims=1)
    return LogitKnowledge(logits)


def silent(*calls):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for call in calls:
            call()


# what is counted


def test_agreement_by_hand():
    logits = torch.tensor([[2.0, 1.0], [2.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    found = agreement(LogitKnowledge(logits), torch.tensor([0, 1, 1, 1]))
    sure = torch.sigmoid(torch.tensor(1.0))
    assert (found.rows, found.share, found.decisions) == (4, 0.75, 4)
    assert found.chance == 0.5 * 0.25 + 0.5 * 0.75
    assert_close(torch.tensor(found.confidence), (3 * sure + (1 - sure)) / 4, precision=torch.float32)


def test_top_k_targets_count_as_the_dense_ones_they_come_from():
    given = labels()
    knowledge = knowing(given, wrong=100)
    ids = knowledge.logits.argsort(1, descending=True)[:, [1, 0, 2]]  # in no order
    log_probs = knowledge.logits.log_softmax(1).gather(1, ids)
    found = agreement(Told(TopK(ids, log_probs, torch.full((997,), -5.0), 7)), given)
    dense = agreement(knowledge, given)
    assert (found.share, found.chance) == (dense.share, dense.chance)


def test_a_sigmoid_head_counts_every_decision():
    logits = torch.tensor([[3.0, -3.0, 3.0], [-3.0, -3.0, 3.0]])
    found = agreement(LogitKnowledge(logits, "sigmoid"), torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 1.0]]))
    assert (found.rows, found.decisions, found.share) == (2, 6, 5 / 6)
    assert_close(torch.tensor(found.chance), (0.5 + 1 + 1) / 3, precision=torch.float32)


def test_sampled_targets_are_not_judged():
    answer = Sampled(torch.zeros(3, 2, dtype=torch.int64), torch.full((3, 2), 0.5), 7)
    assert agreement(Told(answer), labels(3)) is None


def test_targets_of_another_temperature_are_not_judged():
    encoding = DenseLogits(temperatures=(4.0,))
    targets = targets_of(predictions(range(3), probabilities=torch.eye(3), classes=None), encoding)
    assert agreement(targets.knowledge(torch.arange(3)), torch.arange(3)) is None


# memorised


def test_targets_that_repeat_the_labels_are_warned_of():
    given = labels()
    with pytest.warns(MemorisedTargets, match=r"agree with 100.0% of the labels of 997 training rows .* forest"):
        warn_if_memorised(agreement(knowing(given), given), ())


def test_the_warning_says_what_to_do():
    given = labels()
    with pytest.warns(LimbeckWarning, match=r'cross_val_predict.model, x, y, method="predict_proba".. and mark'):
        warn_if_memorised(agreement(knowing(given), given), ())


@pytest.mark.parametrize(("wrong", "marks", "rows"), [(20, (), 997), (0, ("out-of-fold",), 997), (0, (), 19)])
def test_honest_marked_and_few_targets_are_not(wrong, marks, rows):
    given = labels(rows)
    silent(lambda: warn_if_memorised(agreement(knowing(given, wrong=wrong), given), marks))


# misaligned


@pytest.mark.parametrize("seed", range(5))
def test_targets_of_permuted_rows_are_warned_of(seed):
    given = labels(seed=seed)
    permuted = given[torch.randperm(997, generator=torch.Generator().manual_seed(seed + 1))]
    with pytest.warns(MisalignedTargets, match="expected of targets in any order: they seem to belong to other rows"):
        warn_if_misaligned(agreement(knowing(permuted), given))


def test_targets_in_another_order_of_classes_are_warned_of():
    given = labels()
    with pytest.warns(MisalignedTargets, match="Look at their ids, and at the order of their classes"):
        warn_if_misaligned(agreement(LogitKnowledge(knowing(given).logits.roll(1, dims=1)), given))


def test_a_sigmoid_head_of_other_rows_is_warned_of():
    given = (torch.rand(997, 5, generator=torch.Generator().manual_seed(0)) < 0.1).float()
    with pytest.warns(MisalignedTargets, match="of the labels of 997 training rows"):
        warn_if_misaligned(agreement(LogitKnowledge(given.roll(1, dims=0) * 8 - 4, "sigmoid"), given))


@pytest.mark.parametrize("wrong", [0, 500, 750])
def test_a_teacher_that_is_better_than_chance_is_not(wrong):
    given = labels()
    silent(lambda: warn_if_misaligned(agreement(knowing(given, wrong=wrong), given)))


def test_a_rare_label_that_is_known_is_better_than_chance():
    given = torch.zeros(997, 1)
    given[::100] = 1
    silent(lambda: warn_if_misaligned(agreement(LogitKnowledge(given * 8 - 4, "sigmoid"), given)))


def test_few_rows_are_not_judged():
    silent(lambda: warn_if_misaligned(Agreement(rows=19, share=0.0, chance=0.5, decisions=19, confidence=0.5)))
