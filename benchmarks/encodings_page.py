"""The tables and the plot of docs/encodings.md, from results/encodings.json: `python benchmarks/encodings_page.py`.

A test compares both with what this would write.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, final

from limbeck.files import read_json, write_text

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- results: python benchmarks/encodings_page.py -->", "<!-- end of results -->"
LIMIT = 64
"""Bytes per row and view that the best small encoding may take."""


def block(record: Mapping[str, Any]) -> str:
    """Everything between the two marks."""
    return "\n".join([BEGIN, *_set_up(record), "", *_students(record), "", *_errors(record), END])


def _set_up(record: Mapping[str, Any]) -> Iterator[str]:
    rows, teacher, student = record["rows"], record["teacher"], record["student"]
    yield (
        f"**Teacher**: the geometric mean of {len(teacher['members'])} recurrent networks of "
        f"{teacher['parameters_each']:,} parameters each, {record['context']} tokens of context, trained on the whole "
        f"training text ({rows['text']:,} tokens). It comes to {teacher['nll']['test']:.3f} nats a token on the test "
        f"text, and to {teacher['nll']['train']:.3f} on the rows that it is recorded on. **Student**: a feed-forward "
        f"network of {student['parameters']:,} parameters that reads the last {student['context']} tokens, taught on "
        f"{rows['train']:,} positions of the training text. Chosen on {rows['validation']:,} validation rows, judged "
        f"once on {rows['test']:,} test rows, {len(record['seeds']['students'])} paired seeds "
        "([record](../results/encodings.json))."
    )


def _students(record: Mapping[str, Any]) -> Iterator[str]:
    gain, students = record["gain"], record["students"]
    low, high = gain["interval"]
    yield from ("### What an encoding costs a student", "")
    yield (
        f"At T = {record['temperature']:g}, the best for dense targets. On labels alone the student comes to "
        f"{_mean(students['alone']):.3f} nats a token, with dense targets to {_mean(students['dense']):.3f}: a gain of "
        f"{gain['mean']:.3f} ({gain['level']:.0%} interval {low:.3f} to {high:.3f}). Below, the share of that gain "
        "that is lost where the targets went through an encoding, paired by seed; negative where the student came out "
        "better than with the logits as they are."
    )
    yield from ("", "| encoding | bytes per row and view | nats a token | gain lost | 95 % interval |")
    yield "| --- | ---: | ---: | ---: | ---: |"
    for cost in record["costs"]:
        lost = cost["share_lost"]
        low, high = (_percent(bound) for bound in lost["interval"])
        yield (
            f"| {cost['name']} | {cost['bytes']:,} | {_mean(students[cost['key']]):.3f} | {_percent(lost['mean'])} | "
            f"{low} to {high} |"
        )
    best = record["best_small"]
    low, high = (_percent(bound) for bound in best["share_lost"]["interval"])
    yield from (
        "",
        f"Of the encodings of at most {LIMIT} bytes the best on the validation rows is **{best['name']}**: it costs a "
        f"student {_percent(best['share_lost']['mean'])} of the gain (95 % interval {low} to {high}).",
    )


def _errors(record: Mapping[str, Any]) -> Iterator[str]:
    temperatures = _temperatures(record)
    yield from ("### Bytes against error", "", "![Bytes against error](encodings.svg)", "")
    yield (
        f"On {record['rows']['errors']:,} of the recorded rows that no basis was fitted to: the relative error of the "
        "gradient, KL(p ‖ p′) in nats, and the total variation between p and p′."
    )
    heads = [f"T = {temperature:g}: gradient | KL | TV" for temperature in temperatures]
    yield from ("", f"| encoding | bytes | {' | '.join(heads)} |", "| --- | ---: |" + " ---: |" * 3 * len(temperatures))
    for first in (row for row in record["errors"] if row["temperature"] == temperatures[0]):
        cells = [_cells(record["errors"], first["key"], temperature) for temperature in temperatures]
        yield f"| {first['name']} | {first['bytes']:,} | {' | '.join(cells)} |"
    own = ", ".join(f"{row['kl']:.3f} nats at T = {row['temperature']:g}" for row in record["student_kl"])
    yield from (
        "",
        f"The student at which the gradients were taken is itself this far from the teacher: {own}.",
    )


def _cells(rows: Iterable[Mapping[str, Any]], key: str, temperature: float) -> str:
    (row,) = (row for row in rows if (row["key"], row["temperature"]) == (key, temperature))
    return " | ".join((_short(row["gradient"]), _short(row["kl"]), _short(row["total_variation"])))


def _temperatures(record: Mapping[str, Any]) -> list[float]:
    return sorted({row["temperature"] for row in record["errors"]})


def _short(value: float | None) -> str:
    """Two significant digits; a dash where there is no such number."""
    if value is None:
        return "–"
    if value == 0 or value >= 1e-3:
        return f"{value:.2g}" if value < 99.5 else f"{value:,.0f}"
    digits, _, power = f"{value:.1e}".partition("e")
    return f"{digits} · 10{str(int(power)).translate(RAISED)}"


RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %".replace("-", "−")


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


# The figure -----------------------------------------------------------------------------------------------------------


class Family(NamedTuple):
    """How the encodings of a kind are drawn."""

    colour: str
    mark: str
    """An SVG path around (0, 0)."""


FAMILIES = {
    "top-k": Family("#0b6e99", "M-4.5,-4.5h9v9h-9z"),
    "low-rank": Family("#c4501b", "M0,-5.5L5.5,4.5H-5.5z"),
    "sampled": Family("#5b7f1e", "M0,-5.8L5.8,0L0,5.8L-5.8,0z"),
    "dense": Family("#444444", "M-4.6,0a4.6,4.6 0 1,0 9.2,0a4.6,4.6 0 1,0 -9.2,0z"),
}
INK, FAINT, GRID = "#222222", "#5f5f5f", "#e3e3e3"
WIDE, HIGH, GAP, BETWEEN, LEFT, TOP, BOTTOM = 260, 280, 28, 60, 66, 78, 56


class Point(NamedTuple):
    """One encoding in one panel."""

    family: str
    bytes: float
    value: float
    label: str


@final
class Axes(NamedTuple):
    """A panel's place on the page, and its logarithmic axes."""

    left: float
    top: float
    x: tuple[float, float]
    y: tuple[float, float]

    def across(self, value: float) -> float:
        """The place of a number of bytes."""
        return round(self.left + WIDE * _share(value, *self.x), 1)

    def down(self, value: float) -> float:
        """The place of an error."""
        return round(self.top + HIGH * (1 - _share(value, *self.y)), 1)


def plot(record: Mapping[str, Any]) -> str:
    """Error over the bytes of a row as SVG: a row of panels for each measure, a column for each temperature."""
    temperatures = _temperatures(record)
    wide = LEFT + len(temperatures) * (WIDE + GAP)
    parts = [*_frame(wide, TOP + len(MEASURES) * (HIGH + BETWEEN) - BETWEEN + BOTTOM), *_legend()]
    for row, (measure, label) in enumerate(MEASURES.items()):
        shown = [error for error in record["errors"] if error[measure]]
        values = [error[measure] for error in shown]
        y, top = (_power(min(values), down=True), _power(max(values))), TOP + row * (HIGH + BETWEEN)
        parts.append(_label(16, top + HIGH / 2, label, turned=True))
        for column, temperature in enumerate(temperatures):
            axes = Axes(LEFT + column * (WIDE + GAP), top, (8.0, 4096.0), y)
            points = [
                Point(error["family"], error["bytes"], error[measure], str(error["size"]))
                for error in shown
                if error["temperature"] == temperature
            ]
            title = f"T = {temperature:g}" if row == 0 else ""
            parts += [*_grid(axes, title, numbers=column == 0), *_lines(axes, points)]
    return "\n".join([*parts, "</svg>", ""])


MEASURES = {"gradient": "relative error of the gradient", "kl": "KL(p ‖ p′), nats"}


def _share(value: float, low: float, high: float) -> float:
    return math.log(value / low) / math.log(high / low)


def _power(value: float, *, down: bool = False) -> float:
    power = math.log10(value)
    return 10.0 ** (math.floor(power) if down else math.ceil(power))


def _frame(wide: float, high: float) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:g} {high:g}" width="{wide:g}" height="{high:g}" '
        'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif" font-size="12" role="img" '
        'aria-label="Error over bytes per row and view, for every encoding at each T">'
    )
    yield f'<rect width="{wide:g}" height="{high:g}" fill="#ffffff"/>'


def _legend() -> Iterator[str]:
    left = float(LEFT)
    for name, family in FAMILIES.items():
        yield f'<path d="{family.mark}" transform="translate({left + 6:g},26)" fill="{family.colour}"/>'
        yield _label(left + 18, 30, _LEGEND[name], anchor="start")
        left += 24 + 6.6 * len(_LEGEND[name]) + 18


_LEGEND = {
    "top-k": "top-k, with k",
    "low-rank": "low-rank int8, with rank",
    "sampled": "sampled, with draws",
    "dense": "dense logits in 16 bits",
}


def _label(
    x: float, y: float, text: str, *, anchor: str = "middle", colour: str = INK, size: float = 12, turned: bool = False
) -> str:
    # A white edge under the letters keeps them apart from lines.
    turn = f' transform="rotate(-90 {x:g} {y:g})"' if turned else ""
    style = f'fill="{colour}" font-size="{size:g}" stroke="#ffffff" stroke-width="3" paint-order="stroke"'
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" {style}{turn}>{text}</text>'


def _grid(axes: Axes, title: str, *, numbers: bool) -> Iterator[str]:
    right, bottom = axes.left + WIDE, axes.top + HIGH
    if title:
        yield _label(axes.left + WIDE / 2, axes.top - 10, title, size=14)
    low, high = (round(math.log10(bound)) for bound in axes.y)
    for power in range(low, high + 1):
        at = axes.down(10.0**power)
        yield f'<path d="M{axes.left:g},{at:g}H{right:g}" stroke="{GRID}"/>'
        if numbers and power % 2 == 0:
            yield _power_label(axes.left - 6, at + 4, power)
    for exponent in range(3, 13):
        at = axes.across(2.0**exponent)
        strong = 2**exponent == LIMIT
        yield (
            f'<path d="M{at:g},{axes.top:g}V{bottom:g}" stroke="{"#9a9a9a" if strong else GRID}"'
            + (' stroke-dasharray="4 3"/>' if strong else "/>")
        )
        if exponent in (4, 6, 8, 10, 12):
            yield _label(at, bottom + 18, f"{2**exponent:,}", colour=FAINT)
    yield f'<path d="M{axes.left:g},{axes.top:g}V{bottom:g}H{right:g}" stroke="{FAINT}" fill="none"/>'
    yield _label(axes.left + WIDE / 2, bottom + 38, "bytes per row and view")


def _power_label(x: float, y: float, power: int) -> str:
    sign = "−" if power < 0 else ""
    raised = f'<tspan dy="-4" font-size="9">{sign}{abs(power)}</tspan>'
    return f'<text x="{x:g}" y="{y:g}" text-anchor="end" fill="{FAINT}" font-size="12">10{raised}</text>'


def _lines(axes: Axes, points: Sequence[Point]) -> Iterator[str]:
    placed = [(point, axes.across(point.bytes), axes.down(point.value)) for point in points]
    # Labels first: their white edges must not cover a mark.
    for point, x, y in placed:
        yield _mark_label(point.family, x, y, point.label, FAMILIES[point.family].colour)
    for name, family in FAMILIES.items():
        own = sorted((x, y) for point, x, y in placed if point.family == name)
        if name != "dense":  # two types of one size are no line
            places = " ".join(f"{x:g},{y:g}" for x, y in own)
            yield f'<polyline points="{places}" fill="none" stroke="{family.colour}" stroke-width="1.6"/>'
        for x, y in own:
            yield f'<path d="{family.mark}" transform="translate({x:g},{y:g})" fill="{family.colour}"/>'


def _mark_label(family: str, x: float, y: float, text: str, colour: str) -> str:
    # Beside the mark where the other lines seldom run: top-k falls slowly, low rank fast.
    match family:
        case "low-rank":
            return _label(x - 7, y + 15, text, anchor="end", colour=colour, size=11)
        case "dense":
            return _label(x - 9, y + 4, text, anchor="end", colour=colour, size=11)
    return _label(x + 4, y - 8, text, anchor="start", colour=colour, size=11)


def main() -> None:
    """Write the block into the page, and the figure beside it."""
    record = read_json(ROOT / "results" / "encodings.json")
    page = ROOT / "docs" / "encodings.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    write_text(page, before + block(record) + rest.partition(END)[2])
    write_text(ROOT / "docs" / "encodings.svg", plot(record))


if __name__ == "__main__":
    main()
