"""The far ends of what a store may hold."""

import torch
from recordings import draw, known

from limbeck.targets.encodings import fit_low_rank
from limbeck.targets.store import Targets
from limbeck.types import LogitKnowledge


def test_ids_from_the_least_to_the_largest_are_kept_and_found(tmp_path):
    ids = torch.tensor([-(2**63), -1, 2**63 - 1])
    store = known(rows=3, ids=ids)
    targets = Targets.open(store.written(tmp_path / "store"))
    said = targets.knowledge(ids.flip(0)).at(1.0).logits
    assert torch.equal(said, store.logits["train"][:, 0].flip(0))


def test_low_rank_answers_do_not_take_on_the_half_precision_of_the_student():
    logits = draw(40, 7)
    encoding = fit_low_rank(logits, 3)
    fields = encoding.layout(7).unpack(encoding.layout(7).pack(encoding.encode(LogitKnowledge(logits), None)))
    whole = encoding.decode(fields, "softmax", 7, {}).at(1.0).logits
    with torch.autocast("cpu", torch.bfloat16):
        inside = encoding.decode(fields, "softmax", 7, {}).at(1.0).logits
    assert torch.equal(inside, whole)
