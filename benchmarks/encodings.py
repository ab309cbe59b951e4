"""Bytes against error for every encoding of soft targets, and what an encoding costs a student.

    python benchmarks/encodings.py --data FOLDER       results/encodings.json, about an hour on two cores

The teacher is a language model over 1,000 tokens of Tiny Shakespeare (`shakespeare.py`): the geometric mean of two
recurrent networks trained on the whole training text. The student, a small feed-forward model, is taught on a sample
of its positions. Everything is chosen on the validation split. Each finished piece is kept in `--work`, and a
measurement that was stopped goes on where it was.

Shape legend, this file:  B rows, C classes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
import tyro
from encoding_bench import FORMS, HARD, MEMBERS, ROWS, ROWS_SEED, Bench, Form, Lesson
from encoding_error import mean_error
from encoding_students import ENCODING_SEED, Setting
from record import write_record
from shakespeare import CLASSES, CONTEXT, STUDENT_CONTEXT, Recurrent, answers, last_tokens, mean_nll, student_network
from torch import Tensor, nn

from limbeck.evidence.statistics import paired_difference
from limbeck.files import read_tensors
from limbeck.keyed import row_keys
from limbeck.models import parameter_count
from limbeck.types import LogitKnowledge

TEMPERATURES = (1.0, 2.0, 4.0)
SELECTION_SEED = 100
SEEDS = (0, 1, 2, 3, 4, 5)
LIMIT = 64
"""Bytes per row and view that a small encoding may take."""
DRAWINGS = 8
"""How often rows are encoded anew, to tell a sampled encoding's noise from its bias."""
ERROR_ROWS = 4096

ALONE = Lesson(None)
ALONE_GRID = tuple(
    Setting(rate=rate, epochs=epochs, dropout=dropout)
    for rate in (4e-3, 8e-3, 1.6e-2)
    for epochs in (8, 16)
    for dropout in (0.0, 0.2, 0.4)
)
DENSE_GRID = tuple(Setting(rate=rate, epochs=10) for rate in (4e-3, 8e-3, 1.6e-2, 3.2e-2))
JUDGED_FORMS = tuple(form for form in FORMS if form.family != "dense" or form.size == "float16")
"""Those that students are taught with, beside the logits as they are."""
TUNED_FORM = Form("top-k", 15)
"""The one that is tried with settings of its own as well: its targets leave the most to the labels."""
TUNED_WEIGHTS, TUNED_DROPOUTS = (0.1, 0.3, 0.5), (0.0, 0.2)


class Choices(NamedTuple):
    """What the validation rows decided."""

    alone: Setting
    dense: Mapping[float, Setting]
    """At each temperature."""
    temperature: float
    """The one at which the dense targets teach best."""
    tuned: tuple[Lesson, Setting]
    """Weight of the labels and dropout of `TUNED_FORM` at that temperature."""
    grid: Sequence[Mapping[str, Any]]
    """Every setting that was tried, and its validation score."""


def choose(bench: Bench) -> Choices:
    """Try every setting with one seed that no judged student has."""
    grids = {ALONE: ALONE_GRID, **{Lesson(temperature): DENSE_GRID for temperature in TEMPERATURES}}
    grid = _tried(bench, [(lesson, setting) for lesson, settings in grids.items() for setting in settings])
    best = {lesson: _best(row for row in grid if row[0] == lesson) for lesson in grids}
    temperature = min(TEMPERATURES, key=lambda own: best[Lesson(own)][2])
    dense = {own: best[Lesson(own)][1] for own in TEMPERATURES}
    tuned = _tried(
        bench,
        [
            (Lesson(temperature, TUNED_FORM, hard), replace(dense[temperature], dropout=dropout))
            for hard in TUNED_WEIGHTS
            for dropout in TUNED_DROPOUTS
        ],
    )
    shown = [{"lesson": lesson.name, **asdict(setting), "validation": score} for lesson, setting, score in grid + tuned]
    return Choices(best[ALONE][1], dense, temperature, _best(tuned)[:2], shown)


def _tried(bench: Bench, settings: Sequence[tuple[Lesson, Setting]]) -> list[tuple[Lesson, Setting, float]]:
    scores = bench.students([(*setting, SELECTION_SEED) for setting in settings], judged=False)
    return [(*setting, score["validation"]) for setting, score in zip(settings, scores, strict=True)]


def _best(tried: Iterable[tuple[Lesson, Setting, float]]) -> tuple[Lesson, Setting, float]:
    return min(tried, key=lambda row: row[2])


def errors(bench: Bench, choices: Choices) -> list[dict[str, Any]]:
    """Bytes and error of every encoding at each temperature, at a student that has learnt from labels alone.

    So it is asked what an encoding has to tell a student. One that dense targets have taught knows the teacher's tail,
    and would fill in what top-k leaves out. On rows of the student's that lie between those that a basis is fitted to.
    """
    rows = slice(ROWS // ERROR_ROWS // 2, None, ROWS // ERROR_ROWS)
    ids, logits = bench.train.ids[rows], bench.logits("train")[rows]
    inputs = last_tokens(bench.train.columns)[rows]
    untaught = answers(_loaded(bench.student_file(ALONE, choices.alone, SELECTION_SEED, judged=False)), inputs)
    found = []
    for temperature in TEMPERATURES:
        q = (untaught.double() / temperature).softmax(-1)
        for form in FORMS:
            found.append(_error(bench, form, temperature, ids, logits, q))
            print(found[-1], flush=True)
    return found


def _loaded(file: Path) -> nn.Module:
    student = student_network().eval()
    student.load_state_dict(read_tensors(file.with_suffix(".safetensors")))
    return student


@torch.no_grad()
def _error(bench: Bench, form: Form, temperature: float, ids: Tensor, logits: Tensor, q_BC: Tensor) -> dict[str, Any]:
    encoding = form.encoding(temperature, bench.sample)
    layout = encoding.layout(CLASSES)
    decoded = []
    for view in range(DRAWINGS if form.family == "sampled" else 1):
        packed = layout.pack(encoding.encode(LogitKnowledge(logits), row_keys(ENCODING_SEED, view, ids)))
        decoded.append(encoding.decode(layout.unpack(packed), "softmax", CLASSES, {}).at(temperature))
    p_BC = (logits.double() / temperature).softmax(-1)
    error = mean_error(p_BC, q_BC, decoded, temperature)
    return {**_told(form), "bytes": layout.nbytes, "temperature": temperature, **asdict(error)}


def _told(form: Form) -> dict[str, Any]:
    return {"key": form.key, "family": form.family, "size": form.size, "name": form.name}


def judge(bench: Bench, choices: Choices) -> dict[str, Any]:
    """Students alone, taught by the logits, and taught through encodings: their scores, the gain, and the shares of it.

    An encoded arm has the dense arm's setting, which was tuned for that; one of them is tried with its own as well.
    """
    setting = choices.dense[choices.temperature]
    lessons: dict[str, tuple[Lesson, Setting]] = {
        "alone": (ALONE, choices.alone),
        "dense": (Lesson(choices.temperature), setting),
        **{form.key: (Lesson(choices.temperature, form), setting) for form in JUDGED_FORMS},
    }
    if choices.tuned not in lessons.values():
        lessons["tuned"] = choices.tuned
    # Seed by seed, so that whatever is there early can be compared.
    runs = [(name, *lesson, seed) for seed in SEEDS for name, lesson in lessons.items()]
    scores = bench.students([run[1:] for run in runs], judged=True)
    found: dict[str, dict[str, list[float]]] = {name: {"test": [], "validation": []} for name in lessons}
    for (name, *_), score in zip(runs, scores, strict=True):
        for split in ("test", "validation"):
            found[name][split].append(score[split])
    arms = [(form.key, form, form.name) for form in JUDGED_FORMS]
    if "tuned" in lessons:
        arms.append(("tuned", TUNED_FORM, f"{TUNED_FORM.name}, with a weight of the labels and dropout of its own"))
    costs = [_cost(bench, form, choices.temperature, found, key, name) for key, form, name in arms]
    small = [cost for cost in costs if cost["bytes"] <= LIMIT]
    return {
        "students": {name: split["test"] for name, split in found.items()},
        "students_validation": {name: split["validation"] for name, split in found.items()},
        "gain": asdict(paired_difference(found["alone"]["test"], found["dense"]["test"])),
        "costs": costs,
        "best_small": min(small, key=lambda cost: sum(found[cost["key"]]["validation"])),
    }


def _cost(
    bench: Bench, form: Form, temperature: float, found: Mapping[str, Any], key: str, name: str
) -> dict[str, Any]:
    alone, dense, encoded = (found[arm]["test"] for arm in ("alone", "dense", key))
    shares = [(e - d) / (a - d) for a, d, e in zip(alone, dense, encoded, strict=True)]
    return {
        **_told(form),
        "key": key,
        "name": name,
        "bytes": form.encoding(temperature, bench.sample).layout(CLASSES).nbytes,
        "nats_lost": asdict(paired_difference(encoded, dense)),
        "share_lost": asdict(paired_difference(shares, [0.0] * len(shares))),
        "shares_lost": shares,
    }


def teacher_facts(bench: Bench) -> dict[str, Any]:
    """The teacher's size and its own scores."""
    nll = {split: mean_nll(bench.logits(split), bench.rows(split).labels) for split in ("train", "validation", "test")}
    return {"members": list(MEMBERS), "parameters_each": parameter_count(Recurrent()), "nll": nll}


def setting_facts(choices: Choices) -> dict[str, Any]:
    """What was chosen."""
    dense: Sequence[tuple[str, Any]] = [(f"{own:g}", asdict(setting)) for own, setting in choices.dense.items()]
    lesson, setting = choices.tuned
    tuned = {"encoding": TUNED_FORM.key, "hard": lesson.hard, **asdict(setting)}
    return {"alone": asdict(choices.alone), "dense": dict(dense), "tuned": tuned}


def main(
    *, data: Path, work: Path = Path("runs/encodings"), out: Path = Path("results/encodings.json"), parallel: int = 1
) -> None:
    """Measure and record.

    Args:
        data: a folder with Tiny Shakespeare.
        work: where finished pieces are kept.
        out: where the record goes.
        parallel: how many runs at once, each on one core.
    """
    torch.set_num_threads(1)
    bench = Bench(data=data.resolve(), work=work.resolve(), parallel=parallel)
    choices = choose(bench)
    measured = errors(bench, choices)
    own = {row["temperature"]: row.pop("student_kl") for row in measured}
    rows = {"text": len(bench.streams["train"]), **{split: len(bench.rows(split)) for split in bench.streams}}
    found = {
        "rows": {**rows, "errors": len(range(ROWS // ERROR_ROWS // 2, ROWS, ROWS // ERROR_ROWS))},
        "classes": CLASSES,
        "context": CONTEXT,
        "teacher": teacher_facts(bench),
        "student": {"context": STUDENT_CONTEXT, "parameters": parameter_count(student_network())},
        "objective": {"soft": 1 - HARD, "hard": HARD},
        "settings": setting_facts(choices),
        "grid": choices.grid,
        "temperature": choices.temperature,
        "errors": measured,
        "student_kl": [{"temperature": temperature, "kl": kl} for temperature, kl in own.items()],
        "tokenizers": version("tokenizers"),
        **judge(bench, choices),
    }
    seeds = {
        "students": list(SEEDS),
        "selection": SELECTION_SEED,
        "teacher": list(MEMBERS),
        "rows": ROWS_SEED,
        "encoding": ENCODING_SEED,
    }
    write_record(out, seeds, found)


if __name__ == "__main__":
    tyro.cli(main)
