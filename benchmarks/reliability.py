"""What a store of soft targets survives: kills, flipped bits, a full disk, wrong input, a million rows.

    python benchmarks/reliability.py            measure, write results/reliability.json and docs/reliability.md
    python benchmarks/reliability.py --pages    write docs/reliability.md from the record

Every figure of docs/reliability.md comes from here. The million rows are 4 GB on the disk of the temporary folder, or
of --work; what they take of memory is not counted right where that folder is in memory itself.
"""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import tyro
from flips import find_flips, flip_manifests
from full_disk import survive_full_disk
from kills import STATES, TRACES, survive_kills
from large_store import stay_small
from record import ROOT, write_record
from refusals import refusals
from small_stores import SEED

from limbeck.files import read_json, write_text

PAGE = ROOT / "docs" / "reliability.md"


def main(
    *,
    kills: int = 200,
    flips: int = 1000,
    rows: int = 1_000_000,
    work: Path | None = None,
    out: Path = ROOT / "results" / "reliability.json",
    pages: bool = False,
) -> None:
    """Measure, print, record, and write the page.

    Args:
        kills: how often writers of a recording are killed.
        flips: how many single bits are flipped, one at a time.
        rows: of the large store, with 1,000 classes in float32: 4 kB a row.
        work: on which disk the stores are made and broken; the system's temporary folder if None.
        out: where the record goes.
        pages: only write the page from the record.
    """
    torch.set_num_threads(1)
    if not pages:
        with tempfile.TemporaryDirectory(prefix="limbeck-", dir=work) as folder:
            found = measured(Path(folder).resolve(), kills, flips, rows)
        write_record(out, {"stores": SEED, "moments": SEED, "bits": SEED}, found)
    write_text(PAGE, page(read_json(out)))


def measured(work: Path, kills: int, flips: int, rows: int) -> dict[str, Any]:
    """Run every check, each in a folder of its own."""
    rooms = {name: work / name for name in ("kills", "flips", "full", "refusals", "large")}
    for room in rooms.values():
        room.mkdir()
    return {
        "kills": survive_kills(rooms["kills"], kills),
        "flips": {**find_flips(rooms["flips"], flips), **flip_manifests(rooms["flips"])},
        "full_disk": survive_full_disk(rooms["full"]),
        "refusals": refusals(rooms["refusals"]),
        "memory": stay_small(rooms["large"], rows),
    }


def page(record: Mapping[str, Any]) -> str:
    """docs/reliability.md, from the record."""
    sections = (_introduction(), _kills(record["kills"]), _flips(record["flips"]), _full_disk(record["full_disk"]))
    lines = [line for section in sections for line in section]
    return "\n".join([*lines, *_memory(record["memory"]), *_refusals(record["refusals"])]) + "\n"


def _introduction() -> Iterator[str]:
    yield "<!-- written by `python benchmarks/reliability.py` from results/reliability.json; do not edit -->"
    yield ""
    yield "# What a store of soft targets survives"
    yield ""
    yield (
        "Every figure on this page is from [one record](../results/reliability.json), which `python "
        "benchmarks/reliability.py` makes again. A shorter form of each check runs in the test suite."
    )


def _kills(found: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", "## Kills", "")
    yield (
        f"{_count(found['writers'])} processes record one store and are killed (`kill -9`) at {found['kills']} random "
        f"moments: at {found['of_all']} of them both, at the others one, while the other works on or has ended. Then "
        "new ones go on, and are killed in their turn, until the store is whole. Half of the moments are drawn from "
        "the time that a recording takes, half from the changes that writers make to the folder; nothing is slowed "
        "down."
    )
    yield ""
    damaged, different = found["shards_damaged"], found["stores_different"]
    yield (
        f"- Of {found['shards_seen']:,} committed shards that were looked at after a kill, {_none(damaged)} "
        f"{_was(damaged)} damaged."
    )
    yield (
        f"- {found['stores']} stores were finished that way, and {_none(different)} {_was(different)} different in any "
        "byte from one that was recorded without a kill."
    )
    yield from ("", "| how the folder was found | times |", "| --- | ---: |")
    yield from (f"| {words} | {found['states'][name]} |" for name, words in STATES.items())
    yield ""
    yield "Among them: " + ", ".join(f"with {words}, {found['traces'][name]}" for name, words in TRACES.items()) + "."
    yield ""
    yield (
        "A kill ends a process, not the machine: what was written is safe with the operating system. For a power cut, "
        "each file is synced before it is renamed, and its folder after; that was not measured."
    )


def _flips(found: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", "## Flipped bits", "")
    yield (
        f"{found['flips']:,} times one random bit of a store was flipped, {found['in_manifests']} times in a manifest "
        f"and {found['in_indices']} times in a file of ids. The stores: {', '.join(found['stores'])} "
        f"({found['files']} files; those that were recorded hold three splits, and training rows in two views)."
    )
    yield ""
    yield (
        f"- `limbeck targets STORE --verify` refused {found['refused']:,} of {found['flips']:,}, in one sentence each."
    )
    yield (
        f"- Reading every row without verifying first, and computing a loss from it, ended in a sentence "
        f"{found['reading_refused']} times and in a traceback {_never(found['tracebacks'])}; the other times some "
        "answer was a little wrong. Verify what you have copied."
    )
    yield (
        f"- Of all {found['manifest_bits']:,} bits of the {len(found['stores'])} manifests, flipped one after another, "
        f"{found['manifest_bits_refused']:,} were refused by whoever opened the store."
    )


def _full_disk(found: Mapping[str, Any]) -> Iterator[str]:
    limited, filled = found["limited"], found["filled"]
    yield from ("", "## A full disk", "")
    yield (
        "While files may not grow beyond half a shard (`RLIMIT_FSIZE`), recording stops with one sentence, "
        f"{limited['committed']} shards that were committed before can be read, {_none(limited['damaged'])} of them "
        f"{_was(limited['damaged'])} damaged, and with room again `--resume` ends in a store that "
        f"{_equals(limited['equal_after_resume'])} one that was recorded at once:"
    )
    yield from ("", f"> {limited['sentence']}", "")
    if filled is None:
        yield "Small disks were not filled: this process may not mount any."
        return
    at = ", ".join(f"{what} {times}" for what, times in filled["at"].items() if not what.startswith("nothing"))
    yield (
        f"The same on {filled['tries']} real small disks (tmpfs) of {filled['smallest'] // 1000} to "
        f"{filled['largest'] // 1000} kB: {filled['full']} were filled up, while these were written: {at}. Of "
        f"{filled['committed']:,} committed shards {_none(filled['damaged'])} {_was(filled['damaged'])} damaged, and "
        f"after the disk was made larger {filled['equal_after_resume']} of {filled['tries']} recordings ended in the "
        "same bytes."
    )
    yield from ("", f"> {filled['example']}")


def _memory(found: Mapping[str, Any]) -> Iterator[str]:
    recording, reading = found["recording"], found["reading"]
    yield from ("", "## A million rows", "")
    yield (
        f"{found['rows']:,} rows × {found['classes']:,} classes in float32, a synthetic teacher, "
        f"{found['gigabytes']:.1f} GB in {found['shards']} shards. Peak of anonymous memory (goal: under "
        f"{found['goal_gigabytes']} GB): "
        f"{recording['peak_gigabytes']:.2f} GB while recording, {reading['peak_gigabytes']:.2f} GB while reading all "
        "rows in random order, each in a process of its own. What is mapped from files is not counted: the system "
        "takes it back when it needs it."
    )


def _refusals(found: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    yield from ("", "## What is refused, and in which words", "")
    yield "Each of these was tried; STORES is the folder that the stores are in."
    for occasion, sentences in found.items():
        yield from ("", f"### {occasion}", "", "| what is wrong | what Limbeck says |", "| --- | --- |")
        yield from (f"| {what} | {_in_a_cell(sentence)} |" for what, sentence in sentences.items())


def _in_a_cell(sentence: str) -> str:
    # A backquoted cell could not hold backquotes, and a bare one would lose underscores and angle brackets.
    for sign in "\\|_*<`":
        sentence = sentence.replace(sign, f"\\{sign}")
    return sentence


def _count(number: int) -> str:
    return {1: "One", 2: "Two", 3: "Three", 4: "Four"}.get(number, str(number))


def _none(number: int) -> str:
    return f"{number:,}" if number else "none"


def _never(number: int) -> str:
    return f"{number} times" if number else "never"


def _was(number: int) -> str:
    return "was" if number <= 1 else "were"


def _equals(same: bool) -> str:
    return "equals" if same else "does NOT equal"


if __name__ == "__main__":
    tyro.cli(main)
