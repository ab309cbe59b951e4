"""The figures of docs/evidence.md, written from the records in results/: `python benchmarks/evidence_page.py`.

A test compares what stands on the page with what this would write.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from limbeck.files import read_json, write_text

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "evidence.md"
BEGIN, END = "<!-- verdict: python benchmarks/verdict.py -->", "<!-- end of verdict -->"


def block(results: Path) -> str:
    """Everything between the two marks."""
    return "\n".join([BEGIN, *_verdicts(read_json(results / "verdict.json")), END])


def _verdicts(record: Mapping[str, Any]) -> Iterator[str]:
    drawn, again, pool = record["resampled"], record["retrained"], record["pool"]
    yield (
        "In an A/A campaign both arms are the same student on labels alone, and differ in nothing but seeds; whoever "
        f"says that one helped is wrong. The student is that of the demo; each arm has {record['pairs']} seeds "
        "([record](../results/verdict.json))."
    )
    yield from ("", "| | campaigns | false “helped” | false “harmed” |", "| --- | ---: | ---: | ---: |")
    for told, found in (
        (f"resampled from {pool['runs']} real runs", drawn),
        (f"retrained, {again['trials']} trials of search for each arm included", again),
    ):
        yield f"| {told} | {found['campaigns']:,} | {_rate(found['false_helped'])} | {_rate(found['false_harmed'])} |"
    yield from (
        "",
        "In brackets, Clopper and Pearson's 95 % interval. At eight pairs the exact test errs on one side in 6 of 256 "
        "cases, 2.34 %, if the arms are exchangeable. Retrained arms are not quite: each is judged at the settings "
        "that its own search chose, and where a search was unlucky the other arm is really the better one, at these "
        "settings. That is why the verdict says so.",
        "",
        f"**Power.** An effect as large as each resampled campaign says it can resolve (median "
        f"{drawn['resolution']['median']:.2f} points, quartiles {drawn['resolution']['quartiles'][0]:.2f} to "
        f"{drawn['resolution']['quartiles'][1]:.2f}), added to its differences, is found in "
        f"{_rate(drawn['power_at_resolution'])} of them. With an effect of two standard deviations of the paired "
        f"difference ({drawn['sd_of_differences']:.2f} points each), {_rate(drawn['decided_at_two_sd'])} are decided.",
    )


def _rate(found: Mapping[str, Any]) -> str:
    low, high = (100 * end for end in found["interval"])
    return f"{100 * found['share']:.2f} % [{low:.2f}, {high:.2f}]"


def main() -> None:
    """Write the block into the page."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    write_text(PAGE, before + block(ROOT / "results") + rest.partition(END)[2])


if __name__ == "__main__":
    main()
