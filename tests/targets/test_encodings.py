"""Encodings: what comes back, that no row is off by more than is stated, and what is refused."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.errors import ArgumentError, MismatchError, StoreError
from limbeck.functional import coarsened, entropy, forward_kl
from limbeck.keyed import row_keys
from limbeck.knowledge import MixtureKnowledge
from limbeck.targets.encoding import Encoding
from limbeck.targets.encodings import (
    DenseLogits,
    LowRank,
    Members,
    SampledTargets,
    TopKLogProbs,
    encoding_from,
    fit_low_rank,
)
from limbeck.targets.encodings.sampled import systematic_sample
from limbeck.types import LogitKnowledge, Sampled
from tolerances import assert_close

CLASSES = 11
THREE = (1.0, 2.0, 4.0)
PROPERTY = settings(deadline=None, max_examples=40)


def logits(*shape, seed=0, size=3.0):
    return size * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def network(rows=7, classes=CLASSES, seed=0, size=3.0, head="softmax"):
    return LogitKnowledge(logits(rows, classes, seed=seed, size=size), head)


def mixture(rows=7, mean="arithmetic", head="softmax", classes=CLASSES):
    return MixtureKnowledge(logits(3, rows, classes), mean, (1.0, 2.0, 0.5), head)


def stored(encoding, knowledge, *, classes=CLASSES, head="softmax", rows=7, seed=0, features=None):
    """What is read back: through the layout, and through what a manifest says of the encoding."""
    layout = encoding.layout(classes)
    fields = encoding.encode(knowledge, row_keys(seed, 0, torch.arange(rows)))
    for field in layout.fields:
        assert fields[field.name].dtype == field.dtype and fields[field.name].shape == (rows, *field.shape)
    again = encoding_from(encoding.as_json(), encoding.side() if isinstance(encoding, LowRank) else None)
    assert again.layout(classes).as_json() == layout.as_json() and again.as_json() == encoding.as_json()
    return again.decode(again.layout(classes).unpack(layout.pack(fields)), head, classes, features or {})


BASIS = fit_low_rank(logits(200, CLASSES, seed=5), 4)
ALL: list[tuple[Encoding, object]] = [
    (DenseLogits(), network),
    (DenseLogits("float16"), network),
    (DenseLogits("bfloat16", THREE), mixture),
    (Members(3, "arithmetic", (1.0, 2.0, 0.5), "float16"), mixture),
    (TopKLogProbs(3, THREE, True), network),
    (TopKLogProbs(3, THREE, False), mixture),
    (BASIS, network),
    (fit_low_rank(logits(200, CLASSES), 4, (2.0,)), mixture),
    (SampledTargets(5, THREE, 3), mixture),
]
every_encoding = pytest.mark.parametrize(("encoding", "teacher"), ALL, ids=lambda x: getattr(x, "name", ""))


@every_encoding
@pytest.mark.parametrize("rows", [0, 1, 7])
def test_any_number_of_rows_is_stored_and_read(encoding, teacher, rows):
    features = {"hidden": torch.zeros(rows, 2)}
    knowledge = stored(encoding, teacher(rows), rows=rows, features=features)
    assert knowledge.features is features
    answer = knowledge.at((encoding.temperatures or (3.0,))[-1])
    assert len(answer.ids if hasattr(answer, "ids") else answer.logits) == rows


@every_encoding
def test_equal_knowledge_is_equal_bytes(encoding, teacher):
    layout, keys = encoding.layout(CLASSES), row_keys(0, 0, torch.arange(7))
    whole = layout.pack(encoding.encode(teacher(), keys))
    assert torch.equal(whole, layout.pack(encoding.encode(teacher(), keys)))


@every_encoding
def test_a_temperature_that_was_not_recorded_is_refused_with_both(encoding, teacher):
    if encoding.temperatures is None:
        assert stored(encoding, teacher()).at(7.5) is not None
        return
    recorded = ", ".join(f"{temperature:g}" for temperature in encoding.temperatures)
    sentence = rf"^This recording answers T = {recorded} only; it was asked for T = 7\.5\. Record it again with --temp"
    with pytest.raises(MismatchError, match=sentence):
        stored(encoding, teacher()).at(7.5)


# Dense, and members


def test_float32_is_the_bits_that_were_produced():
    produced = torch.tensor([[0.1, -0.0, 1e-45, -math.inf, 3.4e38]])
    assert torch.equal(
        stored(DenseLogits(), LogitKnowledge(produced), classes=5, rows=1).at(2.0).logits.view(torch.int32),
        produced.view(torch.int32),
    )


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
@pytest.mark.parametrize("mean", ["arithmetic", "geometric"])
def test_a_mixture_in_float32_is_what_it_was_at_each_temperature(mean, head):
    teacher = mixture(mean=mean, head=head)
    at_three = stored(DenseLogits(temperatures=THREE), teacher, head=head)
    members = stored(Members(3, mean, teacher.weights), teacher, head=head)
    for temperature in THREE:
        assert torch.equal(at_three.at(temperature).logits, teacher.at(temperature).logits)
        assert torch.equal(members.at(temperature).logits, teacher.at(temperature).logits)
        assert at_three.at(temperature).head == members.at(temperature).head == head
    assert torch.equal(members.at(3.3).logits, teacher.at(3.3).logits)


def test_a_geometric_mixture_is_one_row_of_logits():
    teacher = mixture(mean="geometric")
    assert torch.equal(stored(DenseLogits(), teacher).at(3.3).logits, teacher.at(3.3).logits)


def test_a_constant_in_all_logits_costs_16_bits_nothing():
    near, far = network(), LogitKnowledge(network().logits + 512)
    near_read, far_read = (stored(DenseLogits("float16"), each).at(1.0).logits for each in (near, far))
    assert (far_read - near_read).abs().max() < 1e-3  # float32's own rounding of 512; that of float16 is 0.25
    assert (near_read.amax(-1) == 0).all()


def test_labels_of_a_sigmoid_head_keep_their_zero():
    teacher = network(head="sigmoid")
    read = stored(DenseLogits("float16"), teacher, head="sigmoid").at(1.0)
    assert read.head == "sigmoid"
    torch.testing.assert_close(read.logits, teacher.logits, rtol=2.0**-11, atol=0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@given(seed=st.integers(0, 10**6), size=st.floats(1e-6, 500), classes=st.integers(2, 60))
@PROPERTY
def test_no_log_probability_is_off_by_more_than_is_stated(dtype, temperature, seed, size, classes):
    teacher, encoding = network(5, classes, seed, size), DenseLogits(dtype)
    read = stored(encoding, teacher, classes=classes, rows=5).at(temperature).logits
    exact, found = ((each.double() / temperature).log_softmax(-1) for each in (teacher.logits, read))
    bound = encoding.log_prob_error(exact, temperature)
    assert ((found - exact).abs() <= bound).all()
    unit = 2.0**-11 if dtype == "float16" else 2.0**-8
    kl = forward_kl(temperature * found, temperature * exact, temperature=temperature)
    assert (kl <= 2.02 * unit * math.log(classes) + 1e-7 / temperature).all()


def test_the_stated_bound_is_not_idle():
    teacher, encoding = network(500, 60), DenseLogits("float16")
    exact = teacher.logits.double().log_softmax(-1)
    found = stored(encoding, teacher, classes=60, rows=500).at(1.0).logits.double().log_softmax(-1)
    assert ((found - exact).abs() / encoding.log_prob_error(exact)).max() > 0.2


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_class_that_is_ruled_out_stays_so(dtype):
    teacher = network()
    teacher.logits[:, 3] = -math.inf
    read = stored(DenseLogits(dtype), teacher).at(1.0).logits
    assert read.isneginf().nonzero().tolist() == [[row, 3] for row in range(7)]


# Top-k


@pytest.mark.parametrize("tempered", [True, False])
@given(seed=st.integers(0, 10**6), size=st.floats(1e-3, 60), k=st.integers(1, 30), lowest=st.sampled_from([0.5, 1.0]))
@PROPERTY
def test_no_coarse_distribution_is_off_by_more_than_is_stated(tempered, seed, size, k, lowest):
    teacher, encoding = network(5, 30, seed, size), TopKLogProbs(k, (lowest, 2.0, 4.0), tempered)
    knowledge = stored(encoding, teacher, classes=30, rows=5)
    for temperature in encoding.temperatures:
        answer = knowledge.at(temperature)
        assert (answer.log_probs.diff() <= 0).all() and answer.classes == 30
        exact, found = coarsened(
            teacher.logits.double(),
            answer.ids,
            answer.log_probs.double(),
            answer.tail_log_prob.double(),
            temperature=temperature,
        )
        kl = forward_kl(found, exact, temperature=temperature)
        assert (kl <= encoding.kl_error()).all()


def test_log_probabilities_are_off_by_a_half_unit_of_float16():
    teacher, encoding = network(200, 60), TopKLogProbs(20, (1.0,), True)
    answer = stored(encoding, teacher, classes=60, rows=200).at(1.0)
    log_p = teacher.logits.double().log_softmax(-1)
    kept = log_p.gather(1, answer.ids)
    error = (kept.exp() * (answer.log_probs - kept).abs()).sum(-1)
    assert (error <= 2.0**-11 * entropy(log_p, temperature=1.0) + 2.0**-24).all()
    assert (error > 2.0**-14 * entropy(log_p, temperature=1.0)).any()


def test_the_likeliest_classes_at_the_lowest_temperature_are_kept():
    # Sure of class 0 at T = 1, and the mean of two members who agree on nothing: another order at T = 4.
    members = torch.tensor([[[9.0, 0.0, 4.0, 4.0]], [[0.0, 9.2, 4.0, 4.0]]])
    teacher = MixtureKnowledge(members, "arithmetic", (1.0, 1.0))
    answer = stored(TopKLogProbs(2, (1.0, 4.0), False), teacher, classes=4, rows=1).at(4.0)
    assert sorted(answer.ids[0].tolist()) == [0, 1]
    exact = (teacher.at(4.0).logits / 4).log_softmax(-1)
    torch.testing.assert_close(answer.log_probs, exact.gather(1, answer.ids), rtol=2.0**-11, atol=0)


@pytest.mark.parametrize(
    ("classes", "dtype"),
    [(256, torch.uint8), (257, torch.uint16), (65_536, torch.uint16), (65_537, torch.int32)],
    ids=str,
)
@pytest.mark.parametrize("make", [lambda: TopKLogProbs(3, (1.0,), True), lambda: SampledTargets(3, (1.0,))])
def test_ids_take_the_smallest_integers_that_fit(make, classes, dtype):
    encoding, teacher = make(), LogitKnowledge(torch.zeros(1, classes))
    teacher.logits[0, -1] = 200.0
    assert {field.name: field.dtype for field in encoding.layout(classes).fields}["ids"] == dtype
    assert stored(encoding, teacher, classes=classes, rows=1).at(1.0).ids[0, 0] == classes - 1


def test_a_further_temperature_costs_two_bytes():
    sizes = [TopKLogProbs(14, THREE[:count], True).layout(1000).nbytes for count in (1, 2, 3)]
    assert sizes == [58, 60, 62]
    assert TopKLogProbs(14, THREE, False).layout(1000).nbytes == 14 * 2 + 3 * (14 * 2 + 2)


def test_every_class_leaves_no_tail():
    teacher = network()
    for tempered in (True, False):
        knowledge = stored(TopKLogProbs(CLASSES, THREE, tempered), teacher)
        for temperature in THREE:
            answer = knowledge.at(temperature)
            assert answer.tail_log_prob.isneginf().all()
            exact = (teacher.logits / temperature).log_softmax(-1).gather(1, answer.ids)
            torch.testing.assert_close(answer.log_probs.log_softmax(-1), exact, rtol=2e-3, atol=2e-3)


def test_a_tail_that_float32_sums_cannot_see_is_kept():
    teacher = LogitKnowledge(torch.tensor([[60.0, 0.0, 1.0, -1.0]]))
    answer = stored(TopKLogProbs(1, (1.0,), True), teacher, classes=4, rows=1).at(1.0)
    exact = torch.tensor([[0.0, 1.0, -1.0]]).logsumexp(-1) - 60
    torch.testing.assert_close(answer.tail_log_prob, exact, rtol=2.0**-11, atol=0)


@pytest.mark.parametrize("encoding", [TopKLogProbs(2, (1.0,), True), SampledTargets(2, (1.0,))])
def test_an_id_that_is_no_class_is_damage(encoding):
    fields = encoding.encode(network(), row_keys(0, 0, torch.arange(7)))
    fields["ids"].view(-1)[3] = 200
    with pytest.raises(
        StoreError, match=r"name the class 200, and there are 11: the store is damaged\. Find out where"
    ):
        encoding.decode(fields, "softmax", CLASSES, {})


# Low rank


def structured(rows, rank, seed, noise=0.0, classes=40):
    """Logits of a rank, with a mean of their own and a constant in each row."""
    directions = logits(rank, classes, seed=99, size=1.0) * torch.logspace(0, -1, rank).unsqueeze(1)
    rows_NC = logits(rows, rank, seed=seed) @ directions + logits(classes, seed=98) + logits(rows, 1, seed=seed + 7)
    return rows_NC + noise * logits(rows, classes, seed=seed + 1, size=1.0)


def test_logits_of_a_rank_come_back_but_for_rounding():
    encoding, fresh = fit_low_rank(structured(400, 6, 0), 6), LogitKnowledge(structured(50, 6, 1))
    assert encoding.layout(40).nbytes == 6 + 2
    knowledge = stored(encoding, fresh, classes=40, rows=50)
    for temperature in THREE:
        kl = forward_kl(knowledge.at(temperature).logits, fresh.logits, temperature=temperature)
        assert kl.max() < 2e-3


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
@given(seed=st.integers(0, 10**6), rank=st.integers(1, 12), noise=st.floats(0, 2))
@PROPERTY
def test_no_logit_is_off_by_more_than_is_stated(head, seed, rank, noise):
    encoding = fit_low_rank(structured(100, 6, 0, noise=0.3), rank, head=head)
    fresh = LogitKnowledge(structured(5, 6, seed, noise), head)
    error = stored(encoding, fresh, classes=40, head=head, rows=5).at(1.0).logits.double() - fresh.logits.double()
    bound = encoding.logit_error(fresh)
    if head == "softmax":  # up to a constant of the row: there is one that keeps every class within its bound
        assert ((error - bound).amax(-1) <= (error + bound).amin(-1) + 1e-4).all()
        span = error.amax(-1) - error.amin(-1)
        for temperature in THREE:
            exact, found = fresh.logits.double(), fresh.logits.double() + error
            kl = forward_kl(found, exact, temperature=temperature)
            assert (kl <= span**2 / (8 * temperature**2) + 1e-9).all()
    else:
        assert (error.abs() <= bound + 1e-4).all()


def test_the_classes_that_matter_are_fitted_best():
    calibration, fresh = structured(400, 20, 0), LogitKnowledge(structured(200, 20, 1))
    encoding = fit_low_rank(calibration, 6)
    read = stored(encoding, fresh, classes=40, rows=200).at(1.0).logits
    # The plain projection onto as many principal components, for comparison.
    centred = calibration - calibration.mean(1, keepdim=True)
    mean = centred.mean(0)
    directions = torch.linalg.svd(centred - mean).Vh[:6]
    plain = mean + (fresh.logits - fresh.logits.mean(1, keepdim=True) - mean) @ directions.T @ directions
    ours, theirs = (forward_kl(each, fresh.logits).mean() for each in (read, plain))
    assert ours < 0.7 * theirs


def test_a_basis_is_the_same_each_time_and_fits_an_arithmetic_mixture_at_its_temperature():
    sample = structured(100, 6, 0)
    one, other = fit_low_rank(sample, 5), fit_low_rank(sample.clone(), 5)
    assert torch.equal(one.basis_RC, other.basis_RC) and torch.equal(one.mean_C, other.mean_C)
    assert (one.basis_RC.gather(1, one.basis_RC.abs().argmax(1, keepdim=True)) > 0).all()
    teacher = mixture(300)
    encoding = fit_low_rank(teacher.at(2.0).logits, CLASSES - 1, (2.0,))
    kl = forward_kl(stored(encoding, teacher, rows=300).at(2.0).logits, teacher.at(2.0).logits, temperature=2.0)
    assert kl.max() < 1e-3


@pytest.mark.parametrize("rank", [1, 11])
def test_rows_that_are_all_alike_have_a_basis_too(rank):
    alike = logits(1, CLASSES).expand(9, CLASSES)
    knowledge = stored(fit_low_rank(alike, rank), LogitKnowledge(alike[:7]))
    assert_close(forward_kl(knowledge.at(1.0).logits, alike[:7]), torch.zeros(7))


# Samples


@given(seed=st.integers(0, 10**6), draws=st.integers(1, 40), size=st.floats(0, 30))
@PROPERTY
def test_no_weight_is_off_by_as_much_as_one_draw(seed, draws, size):
    teacher, encoding = network(5, CLASSES, seed, size), SampledTargets(draws, THREE)
    knowledge = stored(encoding, teacher, rows=5, seed=seed)
    for temperature in THREE:
        answer = knowledge.at(temperature)
        assert isinstance(answer, Sampled) and answer.ids.shape == answer.weights.shape == (5, draws)
        weights = torch.zeros(5, CLASSES).scatter_add(1, answer.ids, answer.weights)
        probs = (teacher.logits / temperature).softmax(-1)
        assert ((weights - probs).abs() < encoding.weight_error() + 1e-5).all()


@pytest.mark.parametrize("draws", [1, 7])
def test_the_expected_weight_of_a_class_is_its_probability(draws):
    rows, logits_C = 40_000, logits(CLASSES, seed=4, size=1.5)
    teacher = LogitKnowledge(logits_C.expand(rows, CLASSES))
    answers = stored(SampledTargets(draws, (1.0, 3.0)), teacher, rows=rows)
    for temperature in (1.0, 3.0):
        probs = (logits_C.double() / temperature).softmax(-1)
        counts = torch.zeros(rows, CLASSES).scatter_add(1, answers.at(temperature).ids, torch.ones(rows, draws))
        fraction = (draws * probs).frac()
        deviation = (fraction * (1 - fraction) / rows).sqrt()
        assert ((counts.double().mean(0) - draws * probs).abs() <= 5 * deviation).all()
        assert_close(counts.double().var(0), fraction * (1 - fraction), precision=torch.bfloat16)


def test_draws_are_the_keys_own():
    encoding, teacher = SampledTargets(6, (1.0, 2.0)), network(50)
    keys = row_keys(0, 0, torch.arange(50))
    drawn = encoding.encode(teacher, keys)["ids"]
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    moved = encoding.encode(LogitKnowledge(teacher.logits[order]), keys[order.numpy()])["ids"]
    assert torch.equal(moved, drawn[order])
    for other in (SampledTargets(6, (1.0, 2.0), 1).encode(teacher, keys), encoding.encode(teacher, keys + 1)):
        assert not torch.equal(other["ids"], drawn)


@pytest.mark.parametrize("offset", [0.0, 1 - 2.0**-53])
@pytest.mark.parametrize("draws", [1, 64, 1000])
def test_no_class_without_probability_is_drawn_at_either_end(offset, draws):
    probs = torch.tensor([[0.0, 0.0, 0.3, 0.0, 0.7, 0.0]])
    drawn = systematic_sample(probs, torch.tensor([offset], dtype=torch.float64), draws)
    assert set(drawn.unique().tolist()) <= {2, 4}


# Refusals

KEYS = row_keys(0, 0, torch.arange(7))
NAN, INFINITE, NOBODY, HUGE = (network() for _ in range(4))
NAN.logits[2, 3] = math.nan
INFINITE.logits[2, 3] = math.inf
NOBODY.logits[2] = -math.inf
HUGE.logits[2, 3] = -1e5


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
@pytest.mark.parametrize(("bad", "kind"), [(NAN, "NaN"), (INFINITE, "inf")], ids=["nan", "inf"])
def test_logits_that_are_no_numbers_are_refused(dtype, head, bad, kind):
    with pytest.raises(
        ArgumentError, match=f"^A logit of the teacher is {kind}, which nothing can be learnt from; has"
    ):
        DenseLogits(dtype).encode(LogitKnowledge(bad.logits, head), KEYS)


@pytest.mark.parametrize("encoding", [TopKLogProbs(2, (1.0,), True), SampledTargets(2, (1.0,)), BASIS])
@pytest.mark.parametrize("bad", [NAN, INFINITE, NOBODY], ids=["nan", "inf", "nobody"])
def test_no_encoding_takes_what_is_no_distribution(encoding, bad):
    with pytest.raises(ArgumentError, match="NaN"):
        encoding.encode(bad, KEYS)


ARITHMETIC = mixture()
LABELS = network(head="sigmoid")


@pytest.mark.parametrize(
    ("encode", "kind", "sentence"),
    [
        (lambda: DenseLogits().encode(NOBODY, KEYS), ArgumentError, "^All logits of a row are -inf: the teacher rules"),
        (
            lambda: DenseLogits("float16").encode(HUGE, KEYS),
            ArgumentError,
            r"less the largest of its row, -1000\d\d, is beyond the range of float16; record in bfloat16 or float32\.$",
        ),
        (
            lambda: DenseLogits().encode(ARITHMETIC, KEYS),
            MismatchError,
            "other logits at every temperature; name those",
        ),
        (lambda: TopKLogProbs(2, THREE, True).encode(ARITHMETIC, KEYS), MismatchError, "record it with tempered=False"),
        (lambda: BASIS.encode(ARITHMETIC, KEYS), MismatchError, "fit the low-rank basis with the one temperature"),
        (lambda: TopKLogProbs(2, THREE, True).encode(LABELS, KEYS), MismatchError, "^Top-k targets are of one distrib"),
        (lambda: SampledTargets(2, THREE).encode(LABELS, KEYS), MismatchError, "^Sampled targets are of one distribut"),
        (
            lambda: TopKLogProbs(12, THREE, True).encode(network(), KEYS),
            ArgumentError,
            "at most the number of classes, 11",
        ),
        (lambda: BASIS.encode(network(classes=9), KEYS), ArgumentError, "basis is of 11 classes, and the rows of 9"),
        (
            lambda: Members(3, "arithmetic", (1.0,) * 3).encode(network(), KEYS),
            MismatchError,
            "^Only an ensemble has mem",
        ),
        (
            lambda: Members(3, "arithmetic", (1.0,) * 3).encode(ARITHMETIC, KEYS),
            MismatchError,
            r"is of 3 members \(arithmetic mean, weights \[1\.0, 1\.0, 1\.0\]\), and the ensemble has 3 \(arithmetic",
        ),
        (
            lambda: DenseLogits().encode(stored(TopKLogProbs(2, THREE, True), network()), KEYS),
            MismatchError,
            "name those to record",
        ),
        (
            lambda: DenseLogits(temperatures=(1.0,)).encode(stored(TopKLogProbs(2, THREE, True), network()), KEYS),
            MismatchError,
            r"^Only a part of the teacher's answers is known \(TopK\)",
        ),
    ],
)
def test_knowledge_that_an_encoding_cannot_hold_is_refused(encode, kind, sentence):
    with pytest.raises(kind, match=sentence) as caught:
        encode()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: DenseLogits("float64"), "dtype must be one of float32, float16, bfloat16. Got 'float64'"),
        (lambda: DenseLogits(temperatures=()), r"ascending and distinct\. Got \[\]\."),
        (
            lambda: TopKLogProbs(3, (4.0, 1.0), True),
            r"positive finite numbers, ascending and distinct\. Got \[4\.0, 1\.0",
        ),
        (lambda: SampledTargets(3, (1.0, 1.0)), "ascending and distinct"),
        (lambda: TopKLogProbs(3, (0.0,), True), "ascending and distinct"),
        (lambda: TopKLogProbs(0, (1.0,), True), r"k must be a whole number of at least 1\. Got 0\."),
        (lambda: SampledTargets(2.5, (1.0,)), r"draws must be a whole number of at least 1\. Got 2\.5\."),
        (lambda: SampledTargets(2, (1.0,), -1), r"seed must be a whole number of at least 0\. Got -1\."),
        (lambda: Members(2, "arithmetic", (1.0,)), "one weight for each of 2"),
        (lambda: Members(1, "harmonic", (1.0,)), "mean must be one of arithmetic, geometric"),
        (lambda: LowRank(torch.zeros(2, 5), torch.zeros(4)), r"basis must be \(R, C\) and the mean \(C,\)"),
        (lambda: LowRank(torch.zeros(2, 5), torch.zeros(5), (1.0, 2.0)), r"recorded at one only\. Got \[1\.0, 2\.0\]"),
        (lambda: fit_low_rank(torch.zeros(4, 5), 6), "at most as many components as classes"),
        (lambda: fit_low_rank(torch.zeros(0, 5), 2), "at least one row"),
        (lambda: fit_low_rank(torch.full((4, 5), math.nan), 2), "a logit is infinite or NaN"),
    ],
)
def test_settings_that_cannot_be_are_refused(make, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        make()


@pytest.mark.parametrize(
    ("settings_", "side", "sentence"),
    [
        (
            {"name": "gzip"},
            None,
            "^The store's encoding is 'gzip', which this version does not know; read it with a newer",
        ),
        ({}, None, "^The store's encoding is None"),
        (
            {"name": "dense", "dtype": "int4", "temperatures": None},
            None,
            "^The settings of the encoding 'dense' in the",
        ),
        (
            {"name": "dense", "dtype": "float32", "temperatures": "hot"},
            None,
            "the encoding 'dense' in the manifest can",
        ),
        ({"name": "top-k", "k": 3}, None, "the encoding 'top-k' in the manifest cannot be"),
        ({"name": "sampled", "draws": "9", "temperatures": [1.0]}, None, "draws must be a whole number"),
        (
            {"name": "members", "members": 1, "mean": "geometric", "weights": None},
            None,
            "the encoding 'members' in the",
        ),
        ({"name": "dense", "dtype": "float32", "colour": 1}, None, "the encoding 'dense' in the manifest cannot be"),
        ({"name": "low-rank", "rank": 4, "temperatures": None}, None, "^The store's basis is missing"),
        (
            {"name": "low-rank", "rank": 5, "temperatures": None},
            BASIS.side(),
            "has 4 components, and its manifest says 5",
        ),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(settings_, side, sentence):
    with pytest.raises(StoreError, match=sentence) as caught:
        encoding_from(settings_, side)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", [TopKLogProbs(2, (1.0,), True), SampledTargets(2, (1.0,))])
def test_a_store_that_calls_partial_answers_labels_is_refused(encoding):
    with pytest.raises(MismatchError, match="the teacher has a sigmoid head; record dense targets"):
        encoding.decode(encoding.encode(network(), KEYS), "sigmoid", CLASSES, {})
