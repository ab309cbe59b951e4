"""README's figures, written from the records in results/: `python benchmarks/readme.py`.

A test compares what stands in README with what this would write.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from limbeck.files import read_json, write_text

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- results: python benchmarks/readme.py -->", "<!-- end of results -->"


TEN_RECORDED = ("recorded, ten-network ensemble", "lean, recorded ensemble")
TEN_LIVE = ("ours, ten-network ensemble", "lean, recorded ensemble")


def block(results: Path) -> str:
    """Everything between the two marks."""
    return "\n".join([BEGIN, "## What is measured", "", *_teaching(results), *_speed(results), END])


def _teaching(results: Path) -> Iterator[str]:
    demo = read_json(results / "demo.json")
    members, ensemble, alone, taught = demo["table"]
    yield (
        f"**What the teaching was worth**, `limbeck demo` ([record](results/demo.json)): errors on "
        f"{demo['rows']['test']} test rows, mean ± sd over {demo['difference']['seeds']} seeds, each arm at the "
        f"learning rate that was best on the validation rows. The networks of the ensemble were trained on "
        f"{demo['rows']['teacher']:,} labelled rows, the student sees {demo['rows']['train']} of them."
    )
    yield from ("", "| | parameters | errors |", "| --- | ---: | ---: |")
    for row in (members, ensemble, alone, taught):
        spread = "" if row["errors_sd"] is None else f" ± {row['errors_sd']:.1f}"
        yield f"| {row['who']} | {row['parameters']:,} | {row['errors_mean']:.1f}{spread} |"
    yield from ("", _difference(demo["difference"], "the distilled student makes"), "")
    if (results / "mnist.json").is_file():
        yield from (_mnist(read_json(results / "mnist.json")), "")


def _mnist(record: Mapping[str, Any]) -> str:
    alone, taught = record["errors"]["alone"], record["errors"]["taught"]
    return (
        f"The MNIST recipe, {record['epochs']} epochs, tried the same way ([record](results/mnist.json)): of "
        f"{record['rows']['test']:,} test rows the teacher gets {record['errors']['teacher'][0]:.0f} wrong, the "
        f"student alone {mean(alone):.1f} ± {stdev(alone):.1f}, the distilled student {mean(taught):.1f} ± "
        f"{stdev(taught):.1f}. " + _difference(record["difference"], "The distilled student makes")
    )


def _difference(found: Mapping[str, Any], who: str) -> str:
    low, high = found["interval"]
    kind = "fewer" if found["mean"] >= 0 else "more"
    low, high = (low, high) if found["mean"] >= 0 else (-high, -low)
    text = (
        f"{who} {abs(found['mean']):.1f} errors {kind} (paired by seed, {found['level']:.0%} interval {low:.1f} to "
        f"{high:.1f}, exact sign-flip p = {found['p_value']:.4f})."
    )
    return text[0].upper() + text[1:]


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
        _recording(read_json(results / "recording.json")),
        "",
        _gathers(read_json(results / "gathers.json")),
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
