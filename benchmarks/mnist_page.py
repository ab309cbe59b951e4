"""The blocks and figures of docs/mnist.md, written from the records in results/: `python benchmarks/mnist_page.py`.

A test compares what stands on the page with what this would write, and the data that each figure bears with those that
it would be drawn from. What is missing in the records is said to be not yet run. Drawing needs the extra `bench`.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from mnist_blocks import MAIN, learnt, main_table, omitted
from mnist_costs import costs, tried
from mnist_digits import softened, sure
from mnist_families import fewer_rows, objectives, rates, temperatures, transfer
from mnist_record import Table, read_table
from mnist_series import Series, series
from mnist_trained import trained

from limbeck.files import write_text

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "mnist.md"
FIGURES = ROOT / "docs" / "figures"
BLOCKS: Mapping[str, Callable[[Table], Iterator[str]]] = {
    "table": main_table,
    "trained": trained,
    "learnt": learnt,
    "sure": sure,
    "softened": softened,
    "temperatures": temperatures,
    "objectives": objectives,
    "omit-3": partial(omitted, "omit-3"),
    "only-7-8": partial(omitted, "only-7-8"),
    "fewer-rows": fewer_rows,
    "transfer": transfer,
    "rates": rates,
    "costs": costs,
    "tried": tried,
}


def marks(name: str) -> tuple[str, str]:
    """What stands before and after a block."""
    return f"<!-- {name}: python benchmarks/mnist_page.py -->", f"<!-- end of {name} -->"


def blocks(results: Path) -> dict[str, str]:
    """Every block with its marks, by name."""
    table = read_table(results)
    return {name: "\n".join([marks(name)[0], *made(table), marks(name)[1]]) for name, made in BLOCKS.items()}


def figures(results: Path) -> dict[str, Series]:
    """What each figure shows, by its name; figures of which nothing was run are missing."""
    return series(read_table(results), list(MAIN))


def written(page: str, results: Path) -> str:
    """The page with its blocks as they are to be. Raises: ValueError for a page without one of them."""
    for name, block in blocks(results).items():
        begin, end = marks(name)
        if page.count(begin) != 1 or page.count(end) != 1:
            raise ValueError(f"The page needs the marks of {name!r} once: {begin} and {end}.")
        page = page[: page.index(begin)] + block + page[page.index(end) + len(end) :]
    return page


def draw_all(results: Path, folder: Path) -> None:
    """Write the figures that there are data for, and remove those that there are none for."""
    from mnist_figures import draw

    drawn = {folder / f"mnist-{name}.svg": draw(name, data) for name, data in figures(results).items()}
    for stale in set(folder.glob("mnist-*.svg")) - set(drawn):
        stale.unlink()
    for path, text in drawn.items():
        path.parent.mkdir(exist_ok=True)
        write_text(path, text)


def main() -> None:
    """Write blocks and figures."""
    write_text(PAGE, written(PAGE.read_text(encoding="utf-8"), ROOT / "results"))
    draw_all(ROOT / "results", FIGURES)


if __name__ == "__main__":
    main()
