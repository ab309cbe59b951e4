"""Section 3 of Hinton, Vinyals & Dean 2015 (MNIST), row by row.

`plan` returns the rows; what was chosen for each stands in `CHOSEN`. Development trains on 50,000 rows and scores the
10,000 others; the published table trains on all 60,000 with the same settings and scores the test rows once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias, final

from limbeck.campaigns.reproduction import Found, Named, Plan, Reader, Row
from limbeck.data.tensors import TensorSet
from limbeck.errors import SpecificationError
from limbeck.knowledge import Mean
from limbeck.specification import Distillation, EnsembleOf
from limbeck_recipes.reproductions import mnist_derived as derived
from limbeck_recipes.reproductions import mnist_rows as digits
from limbeck_recipes.reproductions.mnist_settings import Settings
from limbeck_recipes.reproductions.mnist_softened import softened
from limbeck_recipes.reproductions.mnist_training import specification

Scope: TypeAlias = Literal["final", "development"]
"""All training rows and the test rows, or five sixths of the training rows and the sixth that they leave."""

PAPER = {"teacher": 67.0, "student-alone": 146.0, "distilled-T20": 74.0, "omit-3": 206.0, "omit-3-corrected": 109.0}
PAPER |= {"omit-3-test-tuned": 109.0, "only-7-8": 4730.0, "only-7-8-corrected": 1320.0, "only-7-8-test-tuned": 1320.0}
GOALS = {"teacher": 67.0, "distilled-T20": 74.0, "ensemble-arithmetic": 60.0, "ensemble-geometric": 60.0}
GOALS |= {"best-recipe": 50.0, "omit-3-corrected": 109.0, "only-7-8-corrected": 1320.0}

TEACHER = Settings(units=1200, epochs=80, rate=2e-3, input_dropout=0.1, dropout=0.3, max_norm=2.0, jitter=2)
STUDENT = Settings(epochs=30, rate=4e-3, hard=0.5, soft=0.5)
SMALLER = Settings(units=300, epochs=12, rate=4e-3, hard=0.0, soft=1.0)
SMALLEST = replace(SMALLER, units=30, epochs=20, rate=1e-2)
BENT = Settings(elastic=1.2, rotation=8.0, scaling=0.1, jitter=1, plain=0.15)
LONG = replace(BENT, epochs=200, batch_size=512, rate=4e-3, views=30)
CHOSEN: Mapping[str, Settings] = {
    "teacher": TEACHER,
    "student-alone": Settings(epochs=20),
    "student-alone-tuned": Settings(epochs=80, dropout=0.1, max_norm=2.0, jitter=2, smoothing=0.05),
    "distilled-T20": STUDENT,
    "distilled-members": replace(STUDENT, jitter=2, views=12, epochs=60, batch_size=512),
    "best-teacher": replace(BENT, units=128, convolutional=True, epochs=50, rate=2e-3, weight_decay=0.01, dropout=0.3),
    "best-recipe": replace(LONG, hard=0.3, soft=0.7, temperature=4.0),
    "best-recipe-alone": LONG,
    "omit": replace(STUDENT, hard=0.1, soft=0.9, epochs=20),
    "omit-soft": replace(STUDENT, hard=0.0, soft=1.0, epochs=20),
    "temperature-300": SMALLER,
    "temperature-30": SMALLEST,
    "objective": SMALLER,
    "fewer-rows": SMALLER,
    "transfer": SMALLER,
    "rate": replace(SMALLER, epochs=6),
}
"""What validation rows chose."""

TEMPERATURES = (1.0, 2.0, 2.5, 4.0, 8.0, 14.0, 20.0, 40.0)
SHARES = (1.0, 0.3, 0.1, 0.03, 0.01)
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
HARD_SHARES = (0.1, 0.3, 0.5, 0.9)
QUICK_ROWS = 8000
"""Training rows of a quick table."""
QUICK_EPOCHS = 3
"""A quick table divides the epochs by this."""
QUICK_MOST = 15
"""Epochs of a quick table, at most."""
BEST_TEACHERS = 3
"""Members of the ensemble that teaches the best recipe."""


def plan(
    data: str,
    folder: Path,
    *,
    scope: Scope = "final",
    seeds: int = 6,
    quick: bool = False,
    changes: Mapping[str, Mapping[str, Any]] | None = None,
) -> Plan:
    """Return all rows of the section, and what they are scored on.

    Args:
        data: a folder with MNIST, or a hub id such as ylecun/mnist.
        folder: where the images are unpacked, once.
        scope: what is trained on and scored.
        seeds: how many a row has; there are twice as many teachers, of which an ensemble leaves two out.
        quick: train for a few epochs on few rows, to see the way and not the numbers.
        changes: settings in place of chosen ones, by the names of `CHOSEN`: what development tries.
    """
    unknown = sorted(set(changes or {}) - set(CHOSEN))
    if unknown:
        raise SpecificationError(f"There are no settings of {unknown[0]!r}; there are those of: {', '.join(CHOSEN)}.")
    images = str(digits.unpack(data, folder / "digits.safetensors"))
    rows = list(_Section(images, scope, seeds, quick, dict(changes or {})).rows())
    if scope == "final":
        shown = partial(softened, ("teacher", 0), partial(digits.training_rows, images))
        return Plan(rows=rows, scored=partial(digits.test_rows, images), split="test", beside=shown)
    return Plan(rows=rows, scored=partial(digits.held_out_rows, images), split="validation")


@final
@dataclass(frozen=True)
class _Section:
    images: str
    scope: Scope
    seeds: int
    quick: bool
    changes: dict[str, Mapping[str, Any]]

    def rows(self) -> Iterator[Row]:
        yield from self._teachers()
        yield from self._students()
        yield from self._ensembles()
        yield from self._best()
        yield from self._temperatures()
        yield from self._objectives()
        yield from self._omitted()
        yield from self._fewer()
        yield from self._transfer()
        yield from self._rates()

    # What rows are made of

    @property
    def source(self) -> Callable[[], TensorSet]:
        """The rows to learn from."""
        whole = digits.training_rows if self.scope == "final" else digits.development_rows
        rows = partial(whole, self.images)
        return partial(digits.some_rows, rows, QUICK_ROWS) if self.quick else rows

    def settings(self, name: str, **others: Any) -> Settings:
        """What was chosen for a row, with whatever tells it from others of its family."""
        changes = self.changes.get(name, {})
        fixed = sorted(set(others) & set(changes))
        if fixed:
            raise SpecificationError(f"What makes the rows of {name!r} what they are cannot be changed: {fixed[0]}.")
        found = CHOSEN[name].changed(others).changed(changes)
        if not self.quick:
            return found
        epochs = min(QUICK_MOST, max(1, round(found.epochs / QUICK_EPOCHS)))
        return replace(found, epochs=epochs, views=found.views and min(found.views, epochs))

    def some(self, values: Sequence[float]) -> Sequence[float]:
        """The values of a family: of a quick table, the first, a middle one and the last."""
        return tuple(dict.fromkeys((values[0], values[len(values) // 2], values[-1]))) if self.quick else values

    @property
    def all_seeds(self) -> tuple[int, ...]:
        return tuple(range(self.seeds))

    def trained(self, name: str, about: str, settings: Settings, **others: Any) -> Row:
        """A row of networks that learn from labels, from one teacher a seed, or from several."""
        taught_by: Callable[[int], Sequence[Named]] = others.pop("taught_by", _nobody)
        if not settings.has_teacher:
            taught_by = _nobody
        mean: Mean = others.pop("mean", "arithmetic")
        source = others.pop("source", self.source)

        def train(reader: Reader, seed: int) -> Distillation:
            paths = [str(reader.run(*named).path) for named in taught_by(seed)]
            teacher = EnsembleOf(members=paths, mean=mean) if len(paths) > 1 else next(iter(paths), None)
            return specification(settings, source, seed, teacher)

        return Row(
            name=name,
            about=about,
            seeds=others.pop("seeds", self.all_seeds),
            settings=settings.told(),
            paper=PAPER.get(name),
            goal=GOALS.get(name),
            train=train,
            needs=taught_by,
            **others,
        )

    def derived(self, name: str, about: str, found: Callable[[Reader, int], Found], needs: Any, **told: Any) -> Row:
        """A row that is made of the answers of others."""
        return Row(
            name=name,
            about=about,
            seeds=self.all_seeds,
            settings=told,
            paper=PAPER.get(name),
            goal=GOALS.get(name),
            needs=needs,
            found=found,
        )

    # The rows

    def _teachers(self) -> Iterator[Row]:
        about = "Two layers of 1200 with dropout, constrained weights and images jittered by up to two pixels."
        teachers = tuple(range(2 * self.seeds))
        yield self.trained("teacher", about, self.settings("teacher"), seeds=teachers)

    def _students(self) -> Iterator[Row]:
        about = "Two layers of 800 on labels alone, not regularised: the paper's baseline."
        yield self.trained("student-alone", about, self.settings("student-alone"))
        about = "The same on labels alone, with jitter, dropout, constrained weights and smoothing."
        yield self.trained("student-alone-tuned", about, self.settings("student-alone-tuned"))
        about = "Two layers of 800 taught by one teacher at T = 20, on images that are not moved."
        settings = self.settings("distilled-T20", temperature=20.0, jitter=0, elastic=0.0)
        yield self.trained("distilled-T20", about, settings, taught_by=_one)

    def _ensembles(self) -> Iterator[Row]:
        about = "Two layers of 800 taught by one teacher, on images jittered as its were."
        yield self.trained("distilled-member", about, self.settings("distilled-members"), taught_by=_one)
        count = 2 * self.seeds - 2
        if not count:  # at one seed nothing is left of the two teachers
            return
        for mean in ("arithmetic", "geometric"):
            about = f"The {mean} mean of {count} of the {count + 2} teachers; the pools overlap."
            name = f"ensemble-{mean}"
            yield self.derived(
                name, about, partial(derived.ensemble, mean, self._pool), self._pool, mean=mean, members=count
            )
            about = (
                f"Two layers of 800 taught by the {mean} mean of {count} teachers, on images jittered as theirs were."
            )
            settings = self.settings("distilled-members")
            yield self.trained(f"distilled-{mean}", about, settings, taught_by=self._pool, mean=mean)

    def _pool(self, seed: int) -> Sequence[Named]:
        """All teachers but two: which two is what tells the pools apart."""
        return [("teacher", other) for other in range(2 * self.seeds) if other // 2 != seed]

    def _best(self) -> Iterator[Row]:
        about = "A teacher of the best recipe: a small convolutional network, on elastic distortions."
        members = tuple(range(BEST_TEACHERS))
        row = self.trained("best-teacher", about, self.settings("best-teacher"), seeds=members)
        yield replace(row, aside=True)
        about = f"The 2×800 student taught by {BEST_TEACHERS} such teachers on elastic distortions."
        pool = [("best-teacher", member) for member in members]
        yield self.trained("best-recipe", about, self.settings("best-recipe"), taught_by=lambda _seed: pool)
        about = "The same student on labels alone, on the same views."
        yield self.trained("best-recipe-alone", about, self.settings("best-recipe-alone"))

    def _temperatures(self) -> Iterator[Row]:
        for units in (300, 30):
            family = f"temperature-{units}"
            for value in self.some(TEMPERATURES):
                about = f"Two layers of {units} taught at T = {value:g}."
                settings = self.settings(family, temperature=value)
                yield self.trained(f"{family}/T={value:g}", about, settings, taught_by=_one, x=value)

    def _objectives(self) -> Iterator[Row]:
        asked: dict[str, dict[str, float]] = {"soft": {}, "hard": {"hard": 1.0, "soft": 0.0}}
        asked |= {f"hard-{share:g}": {"hard": share, "soft": 1 - share} for share in self.some(HARD_SHARES)}
        asked |= {"matching": {"matching": 1.0, "soft": 0.0}}
        asked |= {f"edited-{share:g}": {"edited": share} for share in (0.1, 0.3)}
        for name, changed in asked.items():
            about = f"Two layers of 300: {OBJECTIVES.get(name) or OBJECTIVES[name.partition('-')[0]]}."
            settings = self.settings("objective", **changed)
            row = self.trained(f"objective/{name}", about, settings, taught_by=_one, x=name)
            yield replace(row, found=partial(derived.repaired, row.name, self.source))

    def _omitted(self) -> Iterator[Row]:
        for kind, classes, keep in (("omit-3", (3,), False), ("only-7-8", (7, 8), True)):
            source = partial(digits.only_classes if keep else digits.without_classes, self.source, classes)
            for ending, setting, told in (("", "omit", "hard term on"), ("-soft", "omit-soft", "soft targets alone")):
                name = f"{kind}{ending}"
                shown = " and ".join(f"{one}s" for one in classes)
                about = f"The transfer set has {'only' if keep else 'no'} {shown}; {told}."
                row = self.trained(name, about, self.settings(setting), taught_by=_one, source=source)
                yield replace(row, found=partial(derived.counting, name, classes))
                about = f"{name}, with biases for {shown} by the prior of the classes on all training inputs."
                found = partial(derived.by_prior, name, classes, self.source)
                corrected = f"{name}-corrected"
                yield self.derived(corrected, about, found, partial(_itself, name), bias="class prior, training inputs")
            about = f"{kind}, with the bias that is best on the scored rows, as in the paper: no fair figure."
            found = partial(derived.by_scored_rows, kind, classes)
            yield self.derived(f"{kind}-test-tuned", about, found, partial(_itself, kind), bias="scored rows")

    def _fewer(self) -> Iterator[Row]:
        whole = self.settings("fewer-rows")
        for share in self.some(SHARES):
            epochs = max(1, round(whole.epochs / share))
            for kind, changed in WITH_VIEWS.items():
                views = min(VIEWS, epochs) if "jitter" in changed else None
                settings = whole.changed({**changed, "epochs": epochs, "views": views})
                source = partial(digits.share_of, self.source, share)
                told = f"{kind.partition('-')[0]} targets{', jittered views' if views else ''}"
                about = f"Two layers of 300 on {share:.0%} of the rows, {told}, as many steps as on all."
                name = f"fewer-rows/{kind}@{share:g}"
                yield self.trained(name, about, settings, taught_by=_one, source=source, x=share)

    def _transfer(self) -> Iterator[Row]:
        half = partial(digits.share_of, self.source, 0.5)
        both = KINDS["both"]
        asked: dict[str, tuple[Any, dict[str, Any], str]] = {
            "labelled": (self.source, both, "all rows with their labels"),
            "unlabelled": (partial(digits.without_labels, self.source), {}, "all rows without labels"),
            "half-labelled": (half, both, "half of the rows with their labels"),
            "half-unlabelled": (partial(digits.without_labels, half), {}, "half of the rows without labels"),
            "half-hard": (half, {"hard": 1.0, "soft": 0.0}, "labels alone, half of the rows"),
            "overlaid": (partial(digits.overlaid, self.source), {}, "unlabelled means of two digits"),
            "pixel-noise": (partial(digits.pixel_noise, self.source), {}, "noise with the digits' grey values"),
            "uniform-noise": (partial(digits.uniform_noise, self.source), {}, "uniform noise"),
        }
        for name, (source, changed, told) in asked.items():
            settings = self.settings("transfer", **changed)
            settings = replace(settings, epochs=settings.epochs * (2 if "half" in name else 1))
            about = f"Two layers of 300, transfer set: {told}."
            yield self.trained(f"transfer/{name}", about, settings, taught_by=_one, source=source, x=name)

    def _rates(self) -> Iterator[Row]:
        for rate in self.some(RATES):
            for kind in ("soft", "hard"):
                settings = self.settings("rate", **KINDS[kind], rate=rate)
                about = f"Two layers of 300, {kind} targets, peak rate {rate:g}."
                row = self.trained(f"rate/{kind}@{rate:g}", about, settings, taught_by=_one, x=rate)
                yield replace(row, found=partial(derived.with_gradients, row.name))


KINDS: Mapping[str, dict[str, Any]] = {
    "soft": {},
    "hard": {"hard": 1.0, "soft": 0.0},
    "both": {"hard": 0.1, "soft": 0.9},
}
WITH_VIEWS = {**KINDS, **{f"{kind}-views": {**KINDS[kind], "jitter": 2} for kind in ("soft", "hard")}}
VIEWS = 12
"""Recorded views of the rows that are jittered, where there are fewer rows."""
OBJECTIVES = {
    "soft": "soft targets alone",
    "hard": "labels alone",
    **{f"hard-{share:g}": f"soft targets and labels, the labels with a weight of {share:g}" for share in HARD_SHARES},
    "matching": "logit matching",
    "edited": "labels edited into the soft targets",
}


def _nobody(_seed: int) -> Sequence[Named]:
    return ()


def _one(seed: int) -> Sequence[Named]:
    return [("teacher", seed)]


def _itself(name: str, seed: int) -> Sequence[Named]:
    return [(name, seed)]
