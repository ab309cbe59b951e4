"""Where the page comes from: the command, versions, rows, seeds, every arm's settings, and what no verdict covers."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from limbeck.report.words import count, duration, number, setting

Facts = Mapping[str, Any]


class Provenance(NamedTuple):
    """What the section shows."""

    command: str
    told: list[tuple[str, str]]
    limits: list[str]
    settings: tuple[list[str], list[list[str]]] | None
    """Headings and rows: what each arm trained with."""
    raw: tuple[list[str], list[list[str]]] | None
    """Headings and rows: test rows wrong, seed by seed."""


def provenance(facts: Facts) -> Provenance:
    """Lay out what is known of how the page came about."""
    found = facts.get("provenance") or {}
    return Provenance(
        command=found.get("command") or "",
        told=_told(facts, found),
        limits=_limits(facts),
        settings=_settings(facts),
        raw=_raw(facts),
    )


def _told(facts: Facts, found: Facts) -> list[tuple[str, str]]:
    told = []
    rows = {name: number for name, number in (facts.get("rows") or {}).items() if number is not None}
    if rows:
        uses = {"train": "to learn from", "validation": "to choose settings and epochs", "test": "to judge"}
        said = [f"{count(number)} {uses.get(name, name)}" for name, number in rows.items()]
        told.append(("Rows", f"{'; '.join(said)}."))
    if facts.get("seeds"):
        seeds = ", ".join(map(str, facts["seeds"]))
        chosen = ", ".join(map(str, facts.get("selection_seeds") or []))
        told.append(
            ("Seeds", f"{seeds} judge." + (f" {chosen} chose the settings, and judge nothing." if chosen else ""))
        )
    told += _teacher(facts.get("teacher") or {})
    ledger = facts.get("ledger") or {}
    if ledger.get("scorings"):
        runs = f", in {count(ledger['runs'])} runs" if ledger.get("runs") else ""
        told.append(("Ledger", f"The test rows were scored {count(ledger['scorings'])} times{runs}."))
    how = [
        f"{name}: {found[key]}"
        for key, name in (("engine", "engine"), ("backend", "side by side with"))
        if found.get(key)
    ]
    if found.get("seconds"):
        how.append(f"it took {_long(found['seconds'])}")
    if how:
        told.append(("How it ran", f"{'; '.join(how)}."))
    if found.get("time"):
        told.append(("Finished", str(found["time"]).replace("T", " ").replace("+00:00", " UTC")))
    return told


def _teacher(teacher: Facts) -> list[tuple[str, str]]:
    """What the teacher was trained on, and what it saw of the rows that the student is judged by."""
    seen = teacher.get("exposure") or {}
    said = [f"Trained on {count(teacher['rows'])} rows."] if teacher.get("rows") else []
    words = {
        "no": "It saw no {split} rows.",
        "yes": "It saw {split} rows.",
        "unknown": "Whether it saw {split} rows is unknown.",
    }
    said += [words[told].format(split=split) for split, told in (teacher.get("saw") or {}).items() if told in words]
    if seen.get("chosen_by"):
        said.append(f"{count(seen['chosen_by'])} of the validation rows chose its checkpoint, which favours no arm.")
    for split, copies in (seen.get("duplicates") or {}).items():
        if copies:
            said.append(f"{count(copies)} {split} rows have copies among the training rows of all arms.")
    return [("Teacher", " ".join(said))] if said else []


def _long(seconds: float) -> str:
    if seconds < 100:
        return duration(seconds)
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _limits(facts: Facts) -> list[str]:
    """What the verdicts do not cover, as sentences."""
    saw = (facts.get("teacher") or {}).get("saw") or {}
    said = [
        "One teacher: another one, or the same trained again, might teach otherwise.",
        "These test rows: the interval covers the chance of seeds; on other rows of the same kind all numbers would "
        "differ somewhat (see “sharpness of these runs”).",
        "These settings, as they were chosen on the validation rows; a longer search might find others.",
        "Times and sizes are of this machine and this way of running.",
    ]
    if "unknown" in saw.values():
        said.append("Whether the teacher saw the rows that judge is not known; if it did, its gain is overstated.")
    return said


def _settings(facts: Facts) -> tuple[list[str], list[list[str]]] | None:
    arms = [arm for arm in facts.get("arms") or [] if arm.get("settings")]
    names = list(dict.fromkeys(name for arm in arms for name in arm["settings"]))
    if not names:
        return None
    rows = [
        [
            arm.get("title") or arm["name"],
            *(number(arm["settings"][name]) if name in arm["settings"] else "" for name in names),
        ]
        for arm in arms
    ]
    return ["arm", *map(setting, names)], rows


def _raw(facts: Facts) -> tuple[list[str], list[list[str]]] | None:
    arms = [arm for arm in facts.get("arms") or [] if arm.get("wrong")]
    if not arms:
        return None
    seeds = facts.get("seeds") or range(len(arms[0]["wrong"]))
    rows = [[arm.get("title") or arm["name"], *(count(wrong) for wrong in arm["wrong"])] for arm in arms]
    return ["arm", *(f"seed {seed}" for seed in seeds)], rows
