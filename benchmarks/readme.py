"""README's figures, written from the records in results/: `python benchmarks/readme.py`.

A test compares what stands in README with what this would write.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mnist_record import bounds, read_table, spread, whole

from limbeck.files import read_json, write_text

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- results: python benchmarks/readme.py -->", "<!-- end of results -->"


DIGITS = {
    "teacher": "2×1200 with dropout, on jittered images",
    "student-alone": "2×800 on labels alone",
    "distilled-T20": "2×800 taught at T = 20, on images that are not moved",
    "distilled-arithmetic": "2×800 taught by ten teachers, on jittered images",
    "student-alone-tuned": "2×800 on labels alone, regularised and tuned, on jittered images",
    "best-recipe": "2×800 taught by convolutional networks, on elastic distortions",
    "best-recipe-alone": "2×800 on labels alone, on the same distortions",
    "omit-3-corrected": "student that was never shown a 3, its bias set by the class prior",
}
TEN_RECORDED = ("recorded, ten-network ensemble", "lean, recorded ensemble")
TEN_LIVE = ("ours, ten-network ensemble", "lean, recorded ensemble")


def block(results: Path) -> str:
    """Everything between the two marks."""
    return "\n".join([BEGIN, "## What is measured", "", *_teaching(results), *_mnist(results), *_speed(results), END])


def _teaching(results: Path) -> Iterator[str]:
    demo = read_json(results / "demo.json")
    yield (
        f"**What the teaching was worth**, `limbeck demo` ([record](results/demo.json)): errors on "
        f"{demo['rows']['test']} test rows in percent, mean ± sd over {len(demo['seeds'])} paired seeds. The student "
        f"sees {demo['rows']['train']} rows; each network of the teacher was trained on {demo['teacher']['rows']:,}. "
        "Rivals were tuned on validation rows with as many trials as the distilled student; ablations are the "
        "distilled student with one thing replaced. The last column is how much better the distilled student is, in "
        "percentage points, with the exact sign-flip interval."
    )
    yield from ("", "| | parameters | error | distilled is better by |", "| --- | ---: | ---: | ---: |")
    teacher = demo["teacher"]
    yield f"| {teacher['title']} | {_count(teacher['parameters'])} | {teacher['mean']:.2f} | |"
    for arm in demo["arms"]:
        contrast = demo["controls"].get(arm["name"])
        better = "" if contrast is None else _interval(contrast)
        title = arm["title"] if arm["kind"] != "ablation" else f"*{arm['title']}*"
        yield f"| {title} | {arm['parameters']:,} | {arm['mean']:.2f} ± {arm['sd']:.2f} | {better} |"
    yield from ("", demo["verdict"]["sentence"], "", demo["replace"]["sentence"])
    if demo["explained"] is not None:
        yield from ("", demo["explained"]["sentence"])
    yield ""


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _interval(contrast: Mapping[str, Any]) -> str:
    low, high = contrast["interval"]
    bounds = "" if low is None or high is None else f" [{low:+.2f}, {high:+.2f}]"
    return f"{contrast['mean']:+.2f}{bounds}"


def _mnist(results: Path) -> Iterator[str]:
    table = read_table(results)
    yield (
        "**Hinton's MNIST section**, `limbeck reproduce mnist` ([record](results/mnist.json), [every row]"
        "(docs/mnist.md)): errors on the 10,000 test rows, mean ± sd over seeds, and the 95 % interval of the mean. "
        "Settings were chosen on held-out training rows, those of the teacher after two early looks at the test rows; "
        "each scoring of the test rows is in a ledger."
    )
    yield from ("", "| | paper | here | 95 % of the mean | seeds |", "| --- | ---: | ---: | ---: | ---: |")
    for name, title in DIGITS.items():
        if (row := table[name]) is not None:
            ends = bounds(table.stand(row).interval)
            yield f"| {title} | {whole(row.paper)} | {spread(row)} | {ends} | {len(row.values)} |"
    yield ""


def _speed(results: Path) -> Iterator[str]:
    record = read_json(results / "epoch.json")
    epoch, step = record["epoch"], record["step"]
    yield (
        f"**What it costs**, 2×1200 → 2×800, batch 256, {record['rows']:,} rows, {record['machine']['cpu']}, "
        f"{record['machine']['threads']} threads ([record](results/epoch.json)): ratios of seconds per epoch within "
        f"{record['rounds']} interleaved rounds, of recorded teachers {2 * record['rounds']} "
        "([record](results/recorded.json)): median and 95 % interval."
    )
    yield from ("", "| | no clipping | clipping |", "| --- | ---: | ---: |")
    recorded = read_json(results / "recorded.json")["epoch"]["ratios"]
    for ratios, over, under, told in (
        (epoch["ratios"], "ours", "lean", "Limbeck, live teacher / leanest hand-written loop, live teacher"),
        (epoch["ratios"], "Trainer", "lean", "Hugging Face Trainer with `compute_loss` / the same"),
        (epoch["ratios"], "ours", "lean, recorded teacher", "Limbeck, live teacher / leanest loop, logits in RAM"),
        (recorded, "recorded", "lean, recorded teacher", "Limbeck, recorded teacher / the same"),
        (recorded, *TEN_RECORDED, "Limbeck, ten recorded networks / the same"),
        (epoch["ratios"], *TEN_LIVE, "Limbeck, ten live networks / the same"),
        (epoch["ratios"], "ours, bfloat16", "ours", "Limbeck in bfloat16 / Limbeck in float32"),
    ):
        cells = (_ratio(ratios, over + suffix, under + suffix) for suffix in ("", ", clipped"))
        yield f"| {told} | {' | '.join(cells)} |"
    micro = {name: 1e6 * seconds / step["steps"] for name, seconds in step["medians"].items()}
    yield from (
        "",
        f"At 64-32-32-10, batch 64, a step takes {micro['lean']:.0f} µs in the leanest loop, {micro['ours']:.0f} µs "
        f"here and {micro['Accelerate']:.0f} µs with plain Accelerate.",
    )
    if (results / "bf16.json").is_file():
        yield from ("", _half(read_json(results / "bf16.json")))
    yield from (
        "",
        _campaign(read_json(results / "campaign.json")),
        "",
        _search(read_json(results / "search.json")),
        "",
        _recording(read_json(results / "recording.json")),
        "",
        _gathers(read_json(results / "gathers.json")),
    )


def _campaign(record: Mapping[str, Any]) -> str:
    told = [
        f"{found['under']} {found['median']:.1f} [{found['low']:.1f}, {found['high']:.1f}]"
        for found in record["ratios"]
    ]
    micro = record["step"]["microseconds"]
    return (
        f"A campaign of {record['runs']} runs of the demo's student ({record['arms']} arms), with all that a run "
        f"leaves, is so many times as fast as one by one: {', '.join(told)} ([record](results/campaign.json)). "
        f"One by one a step takes {micro['distill']:.0f} µs, in the leanest loop {micro['lean']:.0f}."
    )


def _search(record: Mapping[str, Any]) -> str:
    found = record["ratios"]["search_over_distill"]
    return (
        f"A search on recorded targets of MNIST asks the teacher {record['teacher_calls']} times, and its trials take "
        f"{found['median']:.2f} [{found['low']:.2f}, {found['high']:.2f}] of what the same trainings take one by one "
        "([record](results/search.json))."
    )


def _recording(record: Mapping[str, Any]) -> str:
    rates = {who: record[who]["rows_per_second"] for who in ("one network", "ten networks")}
    told = [f"{found['recording'] / found['bare']:.2f} ({who})" for who, found in rates.items()]
    return (
        f"Recording runs at {' and '.join(told)} of the rate of the bare forward pass, 2×1200 units, batch "
        f"{record['batch']}, every byte on the disk ([record](results/recording.json))."
    )


def _gathers(record: Mapping[str, Any]) -> str:
    told = [
        f"{size} take {found['microseconds']['gather']:.0f} µs ({found['microseconds']['index_select']:.0f})"
        for size, found in record["found"].items()
    ]
    return (
        f"Batches of {record['batch']} random rows out of a store of {record['rows']:,} in {record['shards']} mapped "
        f"shards, and by `torch.index_select` from one tensor in RAM (in brackets): rows of {', of '.join(told)} "
        "([record](results/gathers.json))."
    )


def _half(record: Mapping[str, Any]) -> str:
    found = record["difference"]
    low, high = found["interval"]
    return (
        f"Students of MNIST trained in bfloat16 make {found['mean']:+.1f} test errors more than those in float32 "
        f"(95% interval {low:+.1f} to {high:+.1f}, {len(record['errors']['float32'])} paired seeds, "
        "[record](results/bf16.json))."
    )


def _ratio(ratios: list[Mapping[str, Any]], over: str, under: str) -> str:
    found = next((ratio for ratio in ratios if (ratio["over"], ratio["under"]) == (over, under)), None)
    if found is None:
        return ""
    return f"{found['median']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"


def main() -> None:
    """Write the block into README."""
    page = ROOT / "README.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    write_text(page, before + block(ROOT / "results") + after)


if __name__ == "__main__":
    main()
