"""In which form a recording keeps a teacher's answers: from what a user asks for to an encoding.

Shape legend, this file:  N rows of a sample, C classes or labels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, final, get_args

from torch import Tensor

from limbeck.errors import ArgumentError, MismatchError, SpecificationError
from limbeck.knowledge import MixtureKnowledge, is_tempered, width_of
from limbeck.objective import SoftTargets
from limbeck.specification import Distillation
from limbeck.targets.encoding import Encoding
from limbeck.targets.encodings.dense import DenseLogits
from limbeck.targets.encodings.lowrank import fit_low_rank
from limbeck.targets.encodings.members import Members
from limbeck.targets.encodings.sampled import SampledTargets
from limbeck.targets.encodings.topk import TopKLogProbs
from limbeck.types import Dense, Head, Knowledge

EncodingName: TypeAlias = Literal["dense", "members", "top-k", "low-rank", "sampled"]
"""The forms that a teacher's answers can be stored in."""


@final
@dataclass(frozen=True, kw_only=True)
class Form:
    """In which form answers are stored.

    Raises: ArgumentError for an encoding that is none, or a temperature that is not positive.
    """

    encoding: EncodingName = "dense"
    """dense: every logit; members: every logit of every member of an ensemble; top-k: the likeliest classes and the
    weight of the rest; low-rank: int8 coefficients in a basis; sampled: classes drawn from the distribution."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Of the logits of dense and members."""
    temperatures: tuple[float, ...] = ()
    """At which the answers can be asked for, where the encoding does not answer every temperature; 1 and those of the
    objective unless given."""
    k: int = 16
    """Classes that top-k tells apart; all of them where there are fewer."""
    rank: int = 32
    """Coefficients of low-rank; as many as there are classes where these are fewer."""
    draws: int = 32
    """Classes that sampled draws for each row."""

    def __post_init__(self) -> None:
        if self.encoding not in get_args(EncodingName):
            names = ", ".join(get_args(EncodingName))
            raise ArgumentError(f"Form: encoding must be one of {names}. Got {self.encoding!r}.")
        for temperature in self.temperatures:
            if not temperature > 0:
                raise ArgumentError(f"Form: temperatures must be positive. Got {temperature}.")
        # 4 and 4.0 are one temperature, and have to be the same bytes in a manifest.
        object.__setattr__(self, "temperatures", tuple(map(float, self.temperatures)))


def encoding_for(form: Form, knowledge: Knowledge, spec: Distillation, sample: Callable[[float], Tensor]) -> Encoding:
    """Choose the encoding of a teacher's answers.

    Args:
        form: what was asked for.
        knowledge: what the teacher said of a few rows: of what kind it is.
        spec: whose objective says at which temperatures the answers will be asked for.
        sample: the teacher's logits on some rows at a temperature, (N, C), for encodings that are fitted.

    Raises: MismatchError for a form that such answers do not have; SpecificationError for temperatures that must be
        told.
    """
    tempered = is_tempered(knowledge)
    if form.encoding == "dense" and tempered:
        return DenseLogits(dtype=form.dtype, temperatures=None)
    if form.encoding == "members":
        return _members(form, knowledge)
    if form.encoding == "low-rank":
        return _low_rank(form, knowledge, spec, sample)
    temperatures = tuple(sorted(set(form.temperatures or {1.0, *_asked(spec)})))
    if form.encoding == "dense":
        return DenseLogits(dtype=form.dtype, temperatures=temperatures)
    if form.encoding == "top-k":
        return TopKLogProbs(k=min(form.k, width_of(knowledge.at(1.0))), temperatures=temperatures, tempered=tempered)
    return SampledTargets(draws=form.draws, temperatures=temperatures, seed=spec.view_seed)


def _low_rank(form: Form, knowledge: Knowledge, spec: Distillation, sample: Callable[[float], Tensor]) -> Encoding:
    temperatures = None if is_tempered(knowledge) else form.temperatures or tuple(sorted(_asked(spec)))
    if temperatures is not None and len(temperatures) != 1:
        raise SpecificationError(
            "An arithmetic ensemble's answers can be recorded with low-rank at one temperature only; give it with "
            "--temperatures."
        )
    logits = sample((temperatures or (1.0,))[0])
    return fit_low_rank(logits, min(form.rank, logits.shape[1]), temperatures, head=_head(knowledge))


def _head(knowledge: Knowledge) -> Head:
    answer = knowledge.at(1.0)
    return answer.head if isinstance(answer, Dense) else "softmax"


def _members(form: Form, knowledge: Knowledge) -> Members:
    if not isinstance(knowledge, MixtureKnowledge):
        raise MismatchError("Only an ensemble has members to record; the teacher is a single network.")
    members = len(knowledge.logits_MBC)
    return Members(members=members, mean=knowledge.mean, weights=knowledge.weights, dtype=form.dtype)


def _asked(spec: Distillation) -> set[float]:
    """The temperatures that the objective's soft terms ask for. Raises: SpecificationError for one that changes."""
    found = set()
    for name, (_, term) in spec.goal.terms.items():
        if not isinstance(term, SoftTargets):
            continue
        if callable(term.temperature):
            raise SpecificationError(
                f"The temperature of the term {name!r} changes with the step, and this teacher's answers can be "
                "recorded at given temperatures only; give them with --temperatures, or record every member."
            )
        found.add(float(term.temperature))
    return found
