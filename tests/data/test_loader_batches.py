import multiprocessing
import subprocess
import sys
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from limbeck.data.loader import Loader
from limbeck.data.mapstyle import MapStyleSet
from limbeck.data.order import epoch_order
from limbeck.data.prepare import plain_features
from limbeck.data.tensors import TensorSet
from limbeck.errors import ArgumentError, DataError, NotImportable

FEATURES = torch.arange(34, dtype=torch.float32).reshape(17, 2)


def seventeen(**changes):
    return TensorSet(**{"columns": FEATURES, "labels": torch.arange(17) % 3, "ids": torch.arange(17) + 100} | changes)


def doubled(columns):
    return columns["features"] * 2


def mean(columns):
    return columns["features"].mean(0), columns["features"].amax(0, keepdim=True)


def broken(columns):
    if bool((columns["features"] == 8).any()):
        raise ValueError("no fours, please")
    return columns["features"]


@dataclass(frozen=True)
class Words:
    """A whitespace tokenizer: numbers words by a vocabulary, pads to the longest text of the batch."""

    vocabulary: tuple[str, ...]

    def __call__(self, columns):
        texts = [[self._number(word) for word in text.split()] for text in columns["text"]]
        width = max(map(len, texts))
        tokens = torch.tensor([text + [0] * (width - len(text)) for text in texts])
        return {"tokens": tokens, "mask": tokens != 0}

    def _number(self, word):
        return self.vocabulary.index(word) + 2 if word in self.vocabulary else 1


TEXTS = TensorSet(
    {"text": ["book a flight", "a hotel", "what is the time in paris now", "flight", "is a hotel in paris"]},
    labels=[0, 1, 2, 0, 1],
)
STUDENT, TEACHER = Words(("a", "hotel")), Words(("flight", "paris", "time"))


def assert_same_batches(one, other):
    one, other = list(one), list(other)
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        assert_close(left.ids, right.ids)
        assert_close(left.labels, right.labels)
        assert list(left.inputs) == list(right.inputs)
        for prepare, value in left.inputs.items():
            assert_close(value, right.inputs[prepare], rtol=0, atol=0)


def test_an_epoch_is_its_order_cut_into_batches():
    loader = Loader(seventeen(), [plain_features], batch_size=5)
    order = epoch_order(17, seed=4, epoch=2)
    batches = list(loader.epoch(4, 2))
    assert [len(batch) for batch in batches] == [5, 5, 5, 2]
    assert_close(torch.cat([batch.ids for batch in batches]), order + 100)
    assert_close(torch.cat([batch.inputs[plain_features] for batch in batches]), FEATURES[order])
    assert_close(torch.cat([batch.labels for batch in batches]), order % 3)


def test_sequential_batches_come_in_order_and_may_be_larger():
    loader = Loader(seventeen(), [plain_features], batch_size=5)
    assert torch.cat([batch.ids for batch in loader.sequential()]).tolist() == list(range(100, 117))
    chosen = torch.tensor([7, 3, 9])
    assert [batch.ids.tolist() for batch in loader.sequential(chosen, batch_size=2)] == [[107, 103], [109]]
    assert list(loader.sequential(torch.arange(0))) == []


@pytest.mark.parametrize(("rows", "size", "steps"), [(17, 5, 4), (15, 5, 3), (3, 5, 1)])
def test_steps_per_epoch_count_the_last_partial_batch(rows, size, steps):
    loader = Loader(seventeen().subset(torch.arange(rows)), [plain_features], batch_size=size)
    assert loader.steps_per_epoch == len(list(loader.epoch(0, 0))) == steps


@pytest.mark.parametrize("workers", [0, 2])
def test_starting_late_is_dropping_the_first_batches(workers):
    loader = Loader(seventeen(), [plain_features, doubled], batch_size=5, workers=workers)
    assert_same_batches(loader.epoch(1, 1, start=2), list(loader.epoch(1, 1))[2:])
    assert list(loader.epoch(1, 1, start=4)) == []


def test_skipped_batches_are_not_read():
    read = []

    class Watched:
        def __len__(self):
            return 6

        def __getitem__(self, index):
            read.append(index)
            return torch.ones(2)

    loader = Loader(MapStyleSet(Watched()), [plain_features], batch_size=2)
    read.clear()
    list(loader.epoch(0, 0, start=2))
    assert read == epoch_order(6, 0, 0)[4:].tolist()


@pytest.mark.parametrize("microbatches", [1, 3])
def test_workers_make_no_difference(microbatches):
    alone, helped = (
        Loader(seventeen(), [plain_features, doubled, mean], batch_size=5, workers=workers) for workers in (0, 2)
    )
    dealt = {"rank": 1, "ranks": 2, "microbatches": microbatches}
    assert_same_batches(alone.epoch(3, 1, **dealt), helped.epoch(3, 1, **dealt))
    assert_same_batches(alone.sequential(), helped.sequential())


def test_workers_leave_torchs_own_generator_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    list(Loader(seventeen(), [plain_features], batch_size=5, workers=2).epoch(0, 0))
    assert torch.equal(torch.get_rng_state(), before)


def test_an_unfinished_epoch_with_workers_can_be_dropped():
    loader = Loader(seventeen(), [plain_features], batch_size=2, workers=2)
    batches = loader.epoch(0, 0)
    first = next(batches)
    batches.close()
    assert_close(next(loader.epoch(0, 0)).ids, first.ids)


@settings(deadline=None, max_examples=25)
@given(rows=st.integers(1, 17), size=st.integers(1, 7), ranks=st.integers(1, 4), microbatches=st.integers(1, 3))
def test_ranks_and_microbatches_share_every_batch_without_repeats(rows, size, ranks, microbatches):
    loader = Loader(seventeen().subset(torch.arange(rows)), [plain_features], batch_size=size)
    whole = [sorted(batch.ids.tolist()) for batch in loader.epoch(0, 0)]
    shares = [list(loader.epoch(0, 0, rank=rank, ranks=ranks, microbatches=microbatches)) for rank in range(ranks)]
    assert all(len(batches) == len(whole) * microbatches for batches in shares)
    for step, ids in enumerate(whole):
        parts = [batches[step * microbatches + micro] for batches in shares for micro in range(microbatches)]
        assert sorted(torch.cat([part.ids for part in parts]).tolist()) == ids


@pytest.mark.parametrize("workers", [0, 1])
def test_a_share_without_rows_has_inputs_of_the_usual_shapes(workers):
    loader = Loader(TEXTS, [STUDENT], batch_size=4, workers=workers)
    last = list(loader.epoch(0, 0, rank=1, ranks=2))[-1]
    assert len(last) == len(last.labels) == 0
    assert last.inputs[STUDENT]["tokens"].shape[0] == last.inputs[STUDENT]["mask"].shape[0] == 0
    assert last.inputs[STUDENT]["tokens"].dim() == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_teacher_and_student_tokenise_the_same_texts_their_own_way(workers):
    batches = list(Loader(TEXTS, [STUDENT, TEACHER], batch_size=2, workers=workers).sequential())
    assert [batch.inputs[STUDENT]["tokens"].shape[1] for batch in batches] == [3, 7, 5]
    assert batches[0].inputs[STUDENT]["tokens"].tolist() == [[1, 2, 1], [2, 3, 0]]
    assert batches[0].inputs[TEACHER]["tokens"].tolist() == [[1, 1, 2], [1, 1, 0]]
    assert batches[0].inputs[TEACHER]["mask"].tolist() == [[True, True, True], [True, True, False]]


def test_models_that_share_a_prepare_share_its_work():
    calls = []

    def counted(columns):
        calls.append(len(columns["features"]))
        return columns["features"]

    batches = list(Loader(seventeen(), [counted, plain_features, counted], batch_size=10).sequential())
    assert calls == [10, 7]
    assert [list(batch.inputs) for batch in batches] == [[counted, plain_features]] * 2


def test_equal_prepares_are_one():
    batch = next(Loader(TEXTS, [STUDENT, Words(("a", "hotel"))], batch_size=2).sequential())
    assert len(batch.inputs) == 1
    assert Words(("a", "hotel")) in batch.inputs


def test_rows_without_labels_make_batches_without_labels():
    assert next(Loader(seventeen(labels=None), [plain_features], batch_size=2).epoch(0, 0)).labels is None


def test_a_run_needs_no_prepare():
    assert next(Loader(seventeen(), [], batch_size=2).epoch(0, 0)).inputs == {}


@pytest.mark.parametrize("workers", [0, 1])
def test_a_failing_prepare_is_named_with_its_rows(workers):
    loader = Loader(seventeen(), [plain_features, broken], batch_size=4, workers=workers)
    batches = loader.sequential()
    next(batches)
    sentence = (
        r"^The prepare 'broken' failed on a batch of 4 rows \(ids 104, 105, 106, …\): ValueError: no fours, please$"
    )
    with pytest.raises(DataError, match=sentence) as caught:
        next(batches)
    assert "no fours, please" in str(caught.value.__cause__)


def test_a_prepare_for_other_columns_is_named():
    with pytest.raises(DataError, match=r"The prepare 'Words' failed on a batch of 2 rows .*: KeyError: 'text'"):
        next(Loader(seventeen(), [STUDENT], batch_size=2).sequential())


@pytest.mark.filterwarnings("ignore:Got pickle error")  # what torch has to say about it
def test_prepares_that_workers_cannot_import_are_refused():
    loader = Loader(seventeen(), [lambda columns: columns["features"]], batch_size=4, workers=1)
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)
    try:
        with pytest.raises(NotImportable, match="1 workers need rows and prepares that another process can import"):
            next(loader.sequential())
    finally:
        multiprocessing.set_start_method(before, force=True)


def test_batches_are_the_same_in_another_process():
    program = (
        "import torch; from limbeck.data import Loader, TensorSet, plain_features;"
        "loader = Loader(TensorSet(torch.ones(17, 2)), [plain_features], batch_size=5);"
        "print([batch.ids.tolist() for batch in loader.epoch(9, 3, start=1)])"
    )
    elsewhere = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    here = Loader(TensorSet(torch.ones(17, 2)), [plain_features], batch_size=5).epoch(9, 3, start=1)
    assert elsewhere.strip() == str([batch.ids.tolist() for batch in here])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number from 1 up. Got 0."),
        ({"batch_size": 2.5}, "batch_size must be a whole number from 1 up. Got 2.5."),
        ({"batch_size": 2, "workers": -1}, "workers must be a whole number from 0 up. Got -1."),
        ({"batch_size": 2, "prepares": [3]}, "a prepare must be a function of columns. Got int."),
    ],
)
def test_wrong_arguments_are_refused(arguments, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        Loader(seventeen(), **{"prepares": [plain_features]} | arguments)


def test_a_prepare_that_cannot_be_hashed_is_refused():
    @dataclass
    class Mutable:
        size: int

        def __call__(self, columns):
            return columns["features"]

    with pytest.raises(ArgumentError, match=r"must be hashable, .* Got Mutable; make its class a frozen dataclass"):
        Loader(seventeen(), [Mutable(3)], batch_size=2)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"start": 5}, r"start must lie in \[0, 4\], steps. Got 5."),
        ({"start": -1}, r"start must lie in \[0, 4\], steps. Got -1."),
        ({"rank": 2, "ranks": 2}, r"rank must lie in \[0, ranks\). Got rank 2 of 2."),
        ({"microbatches": 0}, "microbatches must be a whole number from 1 up. Got 0."),
    ],
)
def test_a_wrong_start_or_rank_is_refused_before_the_first_batch(arguments, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        Loader(seventeen(), [plain_features], batch_size=5).epoch(0, 0, **arguments)
