"""`limbeck search SPEC`: settings for the distilled student and its rivals, from recorded targets, by a fair fight."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from limbeck.campaigns.arms import DISTILLED, RIVALS, Arm, chosen_names
from limbeck.campaigns.engine import Engine
from limbeck.campaigns.means import Means, executor, with_recorded_targets
from limbeck.campaigns.rivals import rivals
from limbeck.campaigns.search import Execute, Found, search
from limbeck.campaigns.settings import SETTINGS, applied
from limbeck.campaigns.space import Choice, check_space, default_space, space_to_json
from limbeck.campaigns.studies import opened, require_optuna
from limbeck.campaigns.temperatures import Raised, raise_temperature
from limbeck.cli.flags import call_with_flags, check_counts, words_between
from limbeck.cli.parts import from_parts
from limbeck.cli.show import say_where
from limbeck.cli.specs import Asked, Command, asked_of, help_for
from limbeck.data.splits import Splits
from limbeck.errors import ResumeError, SpecificationError
from limbeck.evidence.search_facts import SEARCH, at_an_edge, facts_of_search, write_search
from limbeck.files import read_json
from limbeck.report.words import setting
from limbeck.specification import Distillation, Json
from limbeck.training.progress import Watcher, watcher
from limbeck.training.recorded import recorded_teacher
from limbeck.training.resolve import resolve_data
from limbeck.training.run import claim
from limbeck.training.runner import Backend
from limbeck.training.surroundings import rows_of

_USAGE = """usage: limbeck search SPEC [flags]
       limbeck search --data FOLDER|FILE|ID --student FILE.py:factory --targets STORE|FILE [flags]

SPEC is the one that `limbeck distill` takes: file.py:function, or the name of a recipe: {recipes}. The teacher is asked
once, or not at all where --targets names what was recorded of it; no run sees the test rows.
"""

FIRST_SEED = 1000
"""Selection seeds count from here, away from those that judge."""


@dataclass(frozen=True)
class Common:
    """Flags of a search."""

    out: Path | None = None
    """Where it goes: search.json, the database, the targets, the trials' runs; runs/NAME-search unless given."""
    trials: int = 20
    """Settings that are tried for the distilled student, and as many for each rival."""
    seeds: int = 2
    """Trainings of each setting, at seeds of their own; their mean chooses."""
    rivals: tuple[str, ...] = ("alone", "smoothed")
    """Which rivals are searched with as many trials: names, all, or none."""
    temperatures: tuple[float, ...] = ()
    """Choose the temperature among these alone; what the targets answer exactly unless given."""
    raise_temperature: bool = False
    """Instead of a search, the paper's own way: raise the temperature step by step until it stops paying."""
    storage: str | None = None
    """Address of a database that several machines share (postgresql://…, mysql://…); OUT/search.db unless given."""
    resume: bool = False
    """Go on with the search that stands in --out; finished trials are not run again."""
    overwrite: bool = False
    """Delete the search that stands in --out first."""
    parallel: int | None = None
    """How many runs are trained at once, at most; one per core unless given."""
    backend: Backend = "loky"
    """Who trains them: loky, processes of this machine; ray, the cluster of `ray start --head` or RAY_ADDRESS."""
    engine: Engine = "auto"
    """stacked: runs of one architecture share one model; apart; or what a quick trial finds quicker."""

    def __post_init__(self) -> None:
        check_counts(self, trials=1, seeds=1, parallel=1)
        if self.raise_temperature and self.storage is not None:
            raise SpecificationError("--storage is for a search, and --raise-temperature goes from rung to rung here.")
        if list(self.temperatures) != sorted(set(self.temperatures)) or any(t <= 0 for t in self.temperatures):
            listed = " ".join(f"{value:g}" for value in self.temperatures)
            raise SpecificationError(f"--temperatures must be positive and rise. Got {listed}.")


COMMAND = Command(name="search", common=Common, parts=from_parts, needs=("--data", "--student"), usage=_USAGE)


def run(words: Sequence[str]) -> None:
    """Search, print what was found, and the command that trains the chosen student."""
    if any(word in ("-h", "--help") for word in words):
        print(help_for(COMMAND, [word for word in words if word not in ("-h", "--help")]))
        return
    asked = asked_of(COMMAND, words)
    common = asked.common
    names = _rivals(common)
    if not common.raise_temperature:
        require_optuna()
    out = common.out or Path("runs") / f"{asked.stem('student')}-search"
    rows = rows_of(_refuse_early(asked.spec, common))
    claim(out, resume=common.resume, overwrite=common.overwrite, mark=SEARCH)
    _require_same_rows(out, rows)
    shown = watcher()
    facts = partial(
        facts_of_search,
        title=f"Settings for {asked.name or 'the student'}",
        command=shlex.join(["limbeck", "search", *words]),
        seeds=_seeds(common),
        rows=rows,
    )
    write_search(out, facts(arms={}))  # from now on the folder can be gone on with
    means = Means(watcher=shown, parallel=common.parallel, backend=common.backend, engine=common.engine)
    taught = with_recorded_targets(asked.spec, out / "targets", means)
    arms, left_out = _arms(taught, names, common, out, shown)
    facts = partial(facts, arms={arm.name: {"title": arm.title, "about": arm.about} for arm in arms}, left_out=left_out)
    execute = executor(out / "trials", means)
    if common.raise_temperature:
        ladder = common.temperatures or None
        raised = raise_temperature(arms[0].spec, seeds=_seeds(common), execute=execute, watcher=shown, ladder=ladder)
        train = _train(asked, words, applied(taught, {"temperature": raised.temperature}))
        told = facts(temperature=raised.as_json(), train=train)
        _show_raised(raised)
    else:
        found = _searched(arms, asked, common, out, execute, shown)
        train = _train(asked, words, applied(taught, found[arms[0].name].settings))
        told = facts(search={name: one.as_json() for name, one in found.items()}, train=train)
        _show(arms, found, left_out)
    write_search(out, told)
    say_where(out, told)
    print(f"train the chosen student, and score it: {train}")


def _searched(
    arms: Sequence[Arm], asked: Asked[Common], common: Common, out: Path, execute: Execute, shown: Watcher
) -> dict[str, Found]:
    return search(
        {arm.name: (arm.spec, arm.space or {}) for arm in arms},
        trials=common.trials,
        seeds=_seeds(common),
        execute=execute,
        storage=common.storage or out / "search.db",
        watcher=shown,
        name=asked.stem("student"),
    )


def _rivals(common: Common) -> tuple[str, ...]:
    if common.raise_temperature:
        return ()
    alone = common.rivals[0] if len(common.rivals) == 1 else common.rivals
    return chosen_names(alone, RIVALS)


def _seeds(common: Common) -> list[int]:
    return list(range(FIRST_SEED, FIRST_SEED + common.seeds))


def _require_same_rows(out: Path, rows: Mapping[str, Json]) -> None:
    """Refuse to go on with a search on other rows. Raises: ResumeError."""
    before = read_json(out / SEARCH).get("rows") if (out / SEARCH).is_file() else None
    if before and before != rows:
        raise ResumeError(
            f"The search {out} was begun on other rows than the specification now leads to; put them back, or choose "
            "another --out."
        )


def _refuse_early(spec: Distillation, common: Common) -> Splits:
    """Refuse, before a teacher is trained or asked, what could not be searched; returns the rows."""
    splits = resolve_data(spec)
    if splits.validation is None:
        raise SpecificationError("Settings are chosen on validation rows; give --validation a share, such as 0.1.")
    if not splits.validation.labelled:
        raise SpecificationError("Settings are chosen by errors on validation rows, and the data's have no labels.")
    if common.temperatures:
        check_space(spec, {"temperature": Choice(common.temperatures)})
    if common.raise_temperature:
        SETTINGS["temperature"].own(spec)
    default_space(spec)
    if spec.targets is not None and spec.teacher is not None:
        recorded_teacher(spec, splits)  # refuses targets of another teacher
    if common.storage is not None:
        with opened(common.storage):
            pass
    return splits


def _arms(
    taught: Distillation, names: Sequence[str], common: Common, out: Path, shown: Watcher
) -> tuple[list[Arm], dict[str, str]]:
    """The student as the specification has it, and its rivals; without soft terms there is the student alone."""
    soft = taught.goal.needs_teacher
    first = Arm(
        name=DISTILLED if soft else "alone",
        kind="distilled" if soft else "rival",
        title="student, distilled" if soft else "student, labels alone",
        about="The student with its teacher, at the settings that validation rows chose.",
        # Trials go to other processes, and the targets stand in for a teacher that may have no name to be found by.
        spec=replace(taught, teacher=None) if taught.targets is not None else taught,
        space={**default_space(taught), **_temperatures(common)},
    )
    if not soft or not names:
        return [first], {}
    others = rivals(taught, out / "altered", list(names), watcher=shown)
    return [first, *(arm for arm in others.arms if arm.space is not None)], dict(others.left_out)


def _temperatures(common: Common) -> dict[str, Choice]:
    return {"temperature": Choice(common.temperatures)} if common.temperatures else {}


def _train(asked: Asked[Common], words: Sequence[str], chosen: Distillation) -> str:
    """The command that trains the chosen student: the words of this one, less the search's own, and the settings."""
    own = list(words[1:]) if asked.name else list(words)
    _, kept = call_with_flags(Common, own, COMMAND.prog(asked.name))
    named = [asked.name] if asked.name else []
    return shlex.join(["limbeck", "distill", *named, *kept, *words_between(asked.spec, _with_plain_targets(chosen))])


def _with_plain_targets(spec: Distillation) -> Distillation:
    return spec if spec.targets is None else replace(spec, targets=str(spec.targets))


def _show(arms: Sequence[Arm], found: Mapping[str, Found], left_out: Mapping[str, str]) -> None:
    seeds = len(next(iter(found.values())).seeds)
    table = Table(title=f"Wrong on the validation rows, mean over {seeds} seed{'s' if seeds > 1 else ''}")
    for name in ("", "trials", "as given", "chosen"):
        table.add_column(name, justify="right" if name else "left")
    for arm in arms:
        one = found[arm.name]
        figures = (f"{one.trials[0].validation:.2f} %", f"{one.value:.2f} %")
        table.add_row(Text(arm.title), str(len(one.trials)), *figures)
    Console().print(table)
    for arm in arms:
        _show_settings(arm, found[arm.name])
    for name, why in left_out.items():
        print(f"Left out: {name}. {why}")
    print("The best of many trials flatters: only runs at other seeds, scored on the test rows, judge.")


def _show_settings(arm: Arm, found: Found) -> None:
    settings = ", ".join(f"{setting(name)} {value:g}" for name, value in found.settings.items())
    print(f"{arm.title}: {settings or 'nothing to choose'}")
    if found.importance is not None:
        shares = sorted(found.importance.items(), key=lambda pair: -pair[1])
        print(f"  what mattered: {', '.join(f'{setting(name)} {share:.0%}' for name, share in shares)}")
    lost = sum(trial.failed is not None for trial in found.trials)
    if lost:
        print(f"  in {lost} of {len(found.trials)} trials a loss became NaN or infinite")
    edges = at_an_edge(space_to_json(found.space), found.settings)  # type: ignore[arg-type]
    if edges:
        print(f"  at an end of its range: {', '.join(map(setting, edges))}; the best may lie beyond")


def _show_raised(raised: Raised) -> None:
    table = Table(title="The temperature raised until it stopped paying")
    for name in ("T", "wrong on the validation rows", "nats"):
        table.add_column(name, justify="right")
    for rung in raised.curve:
        mark = "  ← chosen" if rung.temperature == raised.temperature else ""
        table.add_row(f"{rung.temperature:g}", f"{rung.validation:.2f} %", f"{rung.nll:.4f}{mark}")
    Console().print(table)
