"""What rows of MNIST's section answer that are made of the answers of others, and what else is measured of a row."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from limbeck.campaigns.reproduction import Found, Named, Reader, answers_of
from limbeck.data.tensors import TensorSet
from limbeck.evidence.gradient_facts import variance_of_run
from limbeck.functional.class_bias import bias_for_prior
from limbeck.knowledge import Mean
from limbeck.training.evaluate import Predictions
from limbeck_recipes.reproductions import mnist_rows as digits


def ensemble(mean: Mean, pool: Callable[[int], Sequence[Named]], reader: Reader, seed: int) -> Found:
    """Mix the teachers' answers: the mean of their probabilities, or of their logits."""
    members = [reader.answers(*named) for named in pool(seed)]
    logits = torch.stack([one.logits for one in members])
    mixed = logits.softmax(-1).mean(0).log() if mean == "arithmetic" else logits.mean(0)
    return Found(predictions=replace(members[0], logits=mixed))


def counting(name: str, classes: Sequence[int], reader: Reader, seed: int) -> Found:
    """Count what the student gets right of some classes, beside the whole."""
    return _found(reader.answers(name, seed), classes)


def _found(answers: Predictions, classes: Sequence[int], bias: Tensor | None = None) -> Found:
    """Count what was wrong among the classes in question, beside the whole."""
    moved = answers if bias is None else replace(answers, logits=answers.logits + bias)
    labels = moved.labels
    assert labels is not None  # digits have labels
    asked = torch.isin(labels, torch.tensor(classes))
    right = float((moved.logits.argmax(-1) == labels)[asked].double().mean())
    told = {} if bias is None else {f"bias_{one}": float(bias[one]) for one in classes}
    return Found(predictions=moved, measures={"right_share": right, "rows": int(asked.sum()), **told})


def by_prior(name: str, classes: Sequence[int], source: Callable[[], TensorSet], reader: Reader, seed: int) -> Found:
    """Set biases so that the mean probability on all training inputs is the classes' share; labels give the share."""
    rows = source()
    assert rows.labels is not None  # digits have labels
    prior = rows.labels.bincount(minlength=len(digits.CLASSES)).double() / len(rows)
    seen = answers_of(reader.run(name, seed), digits.without_labels(source))
    bias = bias_for_prior(seen.logits, prior, classes=tuple(classes), shared=len(classes) > 1)
    return _found(reader.answers(name, seed), classes, bias.float())


def by_scored_rows(name: str, classes: Sequence[int], reader: Reader, seed: int) -> Found:
    """Set one bias for the classes so that the fewest scored rows are wrong: what the paper did, and no fair figure."""
    answers = reader.answers(name, seed)
    candidates = []
    for value in torch.arange(-12, 12.05, 0.1).tolist():
        bias = torch.zeros(answers.logits.shape[1])
        bias[list(classes)] = value
        candidates.append(bias)
    labels = answers.labels
    assert labels is not None  # digits have labels
    wrong = [int(((answers.logits + bias).argmax(-1) != labels).sum()) for bias in candidates]
    return _found(answers, classes, candidates[wrong.index(min(wrong))])


def repaired(name: str, source: Callable[[], TensorSet], reader: Reader, seed: int) -> Found:
    """Measure how many training rows that the teacher gets wrong the student gets right."""
    run = reader.run(name, seed)
    ours, theirs = run.predictions("student", "train"), run.predictions("teacher", "train")
    measures: dict[str, float] = {}
    if ours is not None and theirs is not None and ours.labels is not None:
        lost = theirs.logits.argmax(-1) != ours.labels
        right = (ours.logits.argmax(-1) == ours.labels)[lost]
        measures = {"teacher_wrong": int(lost.sum())}
        if len(right):  # of a teacher that gets every row right there is nothing to repair
            measures["repaired_share"] = float(right.double().mean())
    return Found(predictions=reader.answers(name, seed), measures=measures)


def with_gradients(name: str, reader: Reader, seed: int) -> Found:
    """Measure how much the gradients of single training rows differ, at the start and at the end."""
    found = variance_of_run(reader.run(name, seed)) or {"end": {}}
    measures = {f"variance_{key}": found[key] for key in ("soft", "hard") if key in found}
    measures |= {f"variance_end_{key}": value for key, value in found["end"].items()}
    return Found(predictions=reader.answers(name, seed), measures=measures)
