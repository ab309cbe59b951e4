"""Single digits of MNIST, and what a teacher says of them at several temperatures."""

from collections.abc import Callable

import torch
from torch import Tensor

from limbeck.campaigns.reproduction import Named, Reader
from limbeck.data.tensors import TensorSet
from limbeck.specification import Json
from limbeck_recipes.reproductions.mnist_rows import CLASSES

SHOWN = (2, 3, 4, 7, 8, 9)
"""Classes of which the digit is shown that the teacher is least sure of."""
TEMPERATURES = (1.0, 4.0, 20.0)
"""At which digits are shown."""
SURE = 0.999
"""From this probability of the right class on the teacher is called sure."""
LIKENESSES = ((2, 3), (2, 7))
"""Of sure digits: the class, and what they are most like besides. The paper's example is of these."""


def softened(teacher: Named, source: Callable[[], TensorSet], reader: Reader) -> dict[str, Json]:
    """Show training digits and what a teacher says of them, all of them digits that it gets right.

    `softened`: of some classes, the one that it is least sure of. `sure`: of all that it is sure of, how many are most
    like each other class, and how little of it; and of some likenesses the digit in the middle, by that probability.
    Nothing where the teacher has not been trained.
    """
    run = reader.run(*teacher)
    answers = run.predictions("student", "train") if run.finished else None
    if answers is None or answers.labels is None:
        return {}
    logits, labels, rows = answers.logits.double(), answers.labels, source()
    own = logits.softmax(-1).gather(1, labels[:, None])[:, 0]
    right = logits.argmax(-1) == labels

    def shown(position: int) -> dict[str, Json]:
        at: dict[str, Json] = {f"{t:g}": (logits[position] / t).softmax(-1).tolist() for t in TEMPERATURES}
        number = int(answers.ids[position])
        image = rows.columns["image"][int((rows.ids == number).nonzero()[0, 0])]
        pixels = image.view(28, 28).tolist()
        return {"id": number, "label": int(labels[position]), "pixels": pixels, "probabilities": at}

    unsure: list[Json] = []
    for one in SHOWN:
        mine = (right & (labels == one)).nonzero()[:, 0]
        if len(mine):
            unsure.append(shown(int(mine[own[mine].argmin()])))
    others = logits.softmax(-1).scatter(1, labels[:, None], -1.0).max(-1)
    sure = own >= SURE
    middles = [_middle(sure & (labels == one) & (others.indices == like), others.values) for one, like in LIKENESSES]
    told: dict[str, Json] = {
        "least": SURE,
        "rows": len(labels),
        "most_like": _counts(labels[sure], others.indices[sure]),
        "median_of_most_like": float(others.values[sure].median()) if bool(sure.any()) else None,
        "digits": [shown(position) for position in middles if position is not None],
    }
    return {"softened": unsure, "sure": told}


def _middle(chosen: Tensor, values: Tensor) -> int | None:
    """The position that is in the middle of the chosen ones, by value; of two the lower.  (N,), (N,)."""
    positions = chosen.nonzero()[:, 0]
    if not len(positions):
        return None
    return int(positions[values[positions].argsort(stable=True)[(len(positions) - 1) // 2]])


def _counts(labels: Tensor, likenesses: Tensor) -> list[Json]:
    """How many rows of each class, down, are most like each other, along."""
    classes = len(CLASSES)
    counts = torch.bincount(labels * classes + likenesses, minlength=classes**2)
    return [line.tolist() for line in counts.view(classes, classes)]
