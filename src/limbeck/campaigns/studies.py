"""Optuna's part of a search: a study per arm in a database, where a trial is proposed once and told once.

A trial is a setting that is tried. Its number in the study and the trials told before it determine what is proposed, so
that a search which was stopped goes on to the same trials.
"""

import hashlib
import json
import math
import socket
import threading
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from filelock import FileLock, Timeout

from limbeck.campaigns.space import Choice, Range, Space, own_settings, recorded_targets, space_to_json
from limbeck.errors import MissingExtra, ResumeError, RunError, SpecificationError
from limbeck.specification import Distillation, Json, identity, to_json

RANDOM_FIRST = 6
"""Trials of an arm that are drawn at random, its own settings among them, before any is modelled."""
WORST = 100.0
"""Points that stand for a student whose loss became NaN or infinite."""
BEAT_SECONDS = 20.0
"""How often a process says that its trials still run, in a database that several machines share."""
SILENT_SECONDS = 300.0
"""After so long without a word, the trials of another process are taken over."""


@final
@dataclass(frozen=True, kw_only=True)
class Tried:
    """A setting that was tried."""

    number: int
    """In the order of the study, from 0: the specification's own settings."""
    settings: Mapping[str, float]
    """What was set."""
    validation: float = math.inf
    """Mean error over the selection seeds on the validation rows, in points."""
    nll: float = math.inf
    """Mean over the same of the nats per row; infinite where a loss was."""
    failed: str | None = None
    """Why there is no student: a loss that became NaN or infinite."""

    @property
    def merit(self) -> tuple[float, float, int]:
        """Smaller is better: the error, then the nats, then who came first."""
        return (self.validation, self.nll, self.number)

    def as_json(self) -> dict[str, Json]:
        """Encode for the record of a search."""
        nll = self.nll if math.isfinite(self.nll) else None
        found: dict[str, Json] = {"settings": dict(self.settings), "validation": self.validation, "nll": nll}
        return found if self.failed is None else {**found, "failed": self.failed}


@final
class Storage:
    """Where studies are kept: a file of SQLite that one process has to itself, or any address that Optuna knows."""

    def __init__(self, source: str | Path) -> None:
        """Open it. Raises: MissingExtra without Optuna; SpecificationError or RunError where it cannot be opened."""
        self.optuna = _optuna()
        self.shared = "://" in str(source)
        self._shown = str(source) if not self.shared else _without_password(str(source))
        url = str(source) if self.shared else f"sqlite:///{Path(source).resolve()}"
        if not self.shared:
            Path(source).parent.mkdir(parents=True, exist_ok=True)
        try:
            with quiet():
                self.database = self.optuna.storages.RDBStorage(url)
        except Exception as error:  # of a dozen database drivers, each with its own
            what = "is no address of a database that can be opened here" if self.shared else "is no record of a search"
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            kind = SpecificationError if self.shared else RunError
            raise kind(f"{self._shown} {what}: {said.rstrip('.')}.") from error

    def close(self) -> None:
        """Let go of the connections."""
        self.database.remove_session()
        self.database.engine.dispose()


@contextmanager
def opened(source: str | Path) -> Iterator[Storage]:
    """Open a storage and let go of it. Raises: RunError where another process searches into the same file."""
    if "://" in str(source):
        storage = Storage(source)
        try:
            yield storage
        finally:
            storage.close()
        return
    path = Path(source)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path.with_name(f"{path.name}.lock"), timeout=0):
            storage = Storage(path)
            try:
                yield storage
            finally:
                storage.close()
    except Timeout:
        raise RunError(
            f"Another process is searching into {path}; wait for it, or give both an address of a database that they "
            "can share."
        ) from None


@final
class ArmStudy:
    """The study of one arm."""

    def __init__(
        self,
        storage: Storage,
        name: str,
        spec: Distillation,
        space: Space,
        *,
        title: str,
        seeds: Sequence[int],
        trials: int,
        batch: int,
    ) -> None:
        """Begin the study `title`, or go on with it.

        Raises: ResumeError where it was begun with another specification, space, seeds or targets.
        """
        self.name, self.spec, self.space = name, spec, space
        self.storage, self._batch = storage, batch
        self._total = trials if space else 1  # where nothing may be changed there is one setting to try
        self._me = f"{socket.gethostname()} {uuid.uuid4().hex}"
        self._own = own_settings(spec, space)
        self._numbers: list[int] = []  # by place, those in the study, where trials that were given up have numbers too
        with quiet():
            self._study = storage.optuna.create_study(
                study_name=title,
                storage=storage.database,
                direction="minimize",
                pruner=storage.optuna.pruners.NopPruner(),
                load_if_exists=True,
            )
            self._id = storage.database.get_study_id_from_name(title)
            self._require_same(_asked(spec, space, seeds))

    @property
    def finished(self) -> bool:
        """Whether every trial was told."""
        return len(self.told()) >= self._total

    def take(self) -> list[Tried]:
        """Return the trials that this process is to run next, newly proposed or left behind by one that died."""
        with quiet():
            kept = self._kept()
            self._numbers = [trial.number for trial in kept]
            mine = [self._tried(place, trial) for place, trial in enumerate(kept) if self._left_behind(trial)]
            told = sum(trial.state.is_finished() for trial in kept)
            goal = (told // self._batch + 1) * self._batch
            if self.storage.shared and not mine:
                goal = max(goal, len(kept) + self._batch)  # others run the rest of this batch
            while len(self._numbers) < min(goal, self._total):
                place = len(self._numbers)
                proposed = self._propose(place)
                self._numbers.append(proposed.number)
                mine.append(Tried(number=place, settings=self._settings(place, proposed.params)))
            self.alive(mine)
            return mine

    def alive(self, trials: Sequence[Tried]) -> None:
        """Say that these trials still run, where another machine might else take them over."""
        if self.storage.shared:  # not within `quiet`, which is not for two threads at once
            for trial in trials:
                self._note(trial, "seen", [self._me, time.time()])

    def tell(self, trial: Tried, runs: Sequence[str]) -> None:
        """Write down what came of a trial. What another process told before stays."""
        result = {**trial.as_json(), "runs": list(runs)}
        with quiet():
            with suppress(self.storage.optuna.exceptions.UpdateFinishedTrialError):
                self._note(trial, "result", result)
            self._study.tell(self._numbers[trial.number], trial.validation, skip_if_finished=True)

    def told(self) -> list[Tried]:
        """Return all trials that were told, in their order."""
        with quiet():
            kept = list(enumerate(self._kept()))[: self._total]
            return [self._tried(place, trial) for place, trial in kept if trial.state.is_finished()]

    def importance(self, least: int) -> dict[str, float] | None:
        """Shares of the variance of the error that each setting explains, by functional ANOVA over a random forest.

        None where fewer than `least` trials were told, where all ended alike, or where scikit-learn is missing.
        Reference: Hutter et al., An Efficient Approach for Assessing Hyperparameter Importance, ICML 2014.
        """
        told = self.told()
        if len(told) < least or len({trial.validation for trial in told}) < 2:
            return None
        try:
            with quiet():
                evaluator = self.storage.optuna.importance.FanovaImportanceEvaluator(seed=0)
                found = self.storage.optuna.importance.get_param_importances(self._study, evaluator=evaluator)
        except ImportError:
            return None
        return {name: float(found[name]) for name in self.space if name in found}

    def _require_same(self, asked: dict[str, Json]) -> None:
        before = self._study.user_attrs.get("asked")
        if before is None:
            self._study.set_user_attr("asked", asked)
            return
        other = next((name for name in asked if before.get(name) != asked[name]), None)
        if other is not None:
            raise ResumeError(
                f"The search for {self.name!r} was begun with {_OTHERS[other]}; go on with what it was begun with, or "
                "choose another place for it."
            )

    def _kept(self) -> list[Any]:
        """Trials with all their settings, in order; one that was cut short while it was proposed is given up."""
        states = self.storage.optuna.trial.TrialState
        kept = []
        for trial in self._study.get_trials(deepcopy=False, states=(states.RUNNING, states.COMPLETE)):
            if trial.params.keys() >= self.space.keys():
                kept.append(trial)
            elif not self.storage.shared or self._silent(trial):
                self._study.tell(trial.number, state=states.FAIL, skip_if_finished=True)
        return sorted(kept, key=lambda trial: trial.number)

    def _left_behind(self, trial: Any) -> bool:
        return not trial.state.is_finished() and (not self.storage.shared or self._silent(trial))

    def _silent(self, trial: Any) -> bool:
        who, when = trial.user_attrs.get("seen", ["", trial.datetime_start.timestamp()])
        return bool(who == self._me or time.time() - when > SILENT_SECONDS)

    def _propose(self, place: int) -> Any:
        """Ask for one more trial.

        A sampler of its own for each trial, seeded by its place, needs no memory that a stop could lose; arms that
        share settings begin with the same draws.
        """
        self._study.sampler = self.storage.optuna.samplers.TPESampler(
            seed=int.from_bytes(hashlib.sha256(f"trial {place}".encode()).digest()[:4], "big"),
            n_startup_trials=RANDOM_FIRST,
            constant_liar=True,
        )
        waiting = self.storage.optuna.trial.TrialState.WAITING
        if place == 0 and self.space and not self._study.get_trials(deepcopy=False, states=(waiting,)):
            self._study.enqueue_trial(self._own)
        distributions = {name: self._distribution(part) for name, part in self.space.items()}
        return self._study.ask(distributions)

    def _distribution(self, part: Range | Choice) -> Any:
        known = self.storage.optuna.distributions
        if isinstance(part, Choice):
            return known.CategoricalDistribution(part.values)
        if part.whole:
            return known.IntDistribution(int(part.low), int(part.high), log=part.log)
        return known.FloatDistribution(part.low, part.high, log=part.log)

    def _settings(self, place: int, params: Mapping[str, Any]) -> dict[str, float]:
        if place == 0:
            return self._own  # to the last digit
        return {name: _legible(float(params[name]), part) for name, part in self.space.items()}

    def _tried(self, place: int, trial: Any) -> Tried:
        settings = self._settings(place, trial.params)
        if not trial.state.is_finished():
            return Tried(number=place, settings=settings)
        result = trial.user_attrs["result"]
        return Tried(
            number=place,
            settings=settings,
            validation=float(trial.value),
            nll=math.inf if result["nll"] is None else float(result["nll"]),
            failed=result.get("failed"),
        )

    def _note(self, trial: Tried, key: str, value: Json) -> None:
        number = self._numbers[trial.number]
        known = self.storage.database.get_trial_id_from_study_id_trial_number(self._id, number)
        self.storage.database.set_trial_user_attr(known, key, value)


@contextmanager
def beating(taken: Mapping[ArmStudy, Sequence[Tried]]) -> Iterator[None]:
    """Say now and then that these trials still run, where other machines might else take them over."""
    if not any(study.storage.shared for study in taken):
        yield
        return
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT_SECONDS):
            with suppress(Exception):  # a word that was lost is said again
                for study, trials in taken.items():
                    study.alive(trials)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna's own lines and warnings from the screen."""
    optuna = _optuna()
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise MissingExtra("a search over settings", "search") from None
    return optuna


_OTHERS = {
    "specification": "another specification",
    "targets": "other recorded targets",
    "space": "another space",
    "seeds": "other selection seeds",
}


def _asked(spec: Distillation, space: Space, seeds: Sequence[int]) -> dict[str, Json]:
    """What makes a search another one; not where its targets lie, which may differ from machine to machine."""
    targets = recorded_targets(spec)
    own = identity(to_json(spec), leave_out=("seed", "targets"))
    return {
        "specification": hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest(),
        "targets": None if targets is None else targets.fingerprint,
        "space": json.dumps(space_to_json(space), sort_keys=True),
        "seeds": list(seeds),
    }


def _legible(value: float, part: Range | Choice) -> float:
    """Three digits of a number, which no student tells from all of them, and a person can read and type."""
    if isinstance(part, Choice) or part.whole:
        return value
    return part.nearest(float(f"{value:.2e}"))


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    login, at, host = rest.rpartition("@")
    return f"{scheme}://{login.partition(':')[0]}{at}{host}"


def require_optuna() -> None:
    """Refuse a search, before anything is done for it, where Optuna is missing. Raises: MissingExtra."""
    _optuna()
