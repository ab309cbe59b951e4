"""All pages in one start of a headless Chromium: the plots are drawn, nothing fails, nothing sticks out."""

import json
import os
import re
import shutil
import subprocess

import pytest
from facts_by_hand import ODD, RUN
from search_by_hand import RAISED, SEARCH
from sweep_by_hand import LOST, SHARES, SWEEP

from limbeck.report.page import write_page

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--allow-file-access-from-files"),
    *("--enable-logging=stderr", "--v=0", "--virtual-time-budget=60000"),
]

PAGES = {
    **{"run": RUN, "single": ODD["a single point"], "texts": ODD["texts"], "bare": ODD["no records"]},
    **{"search": SEARCH, "raised": RAISED},
    **{"sweep": SWEEP, "shares": SHARES, "lost": LOST},
}
FIGURES = {"run": 4, "single": 3, "texts": 4, "bare": 0, "search": 4, "raised": 1, "sweep": 1, "shares": 1, "lost": 1}
WIDTHS = (1100, 400)

LOOK = """
const look = () => {
  const found = {};
  for (const frame of document.querySelectorAll("iframe")) {
    const page = frame.contentDocument;
    found[frame.id] = {
      drawn: page.querySelectorAll(".plot > .plot-container .main-svg:first-child").length,
      places: page.querySelectorAll(".plot").length,
      width: page.documentElement.scrollWidth,
      widest: Math.max(0, ...[...page.querySelectorAll(".main-svg")].map((svg) => svg.getBoundingClientRect().right)),
    };
  }
  document.getElementById("found").textContent = JSON.stringify(found);
  return Object.values(found).every(({ drawn, places }) => drawn === places);
};
const wait = (tries) => setTimeout(() => look() || (tries && wait(tries - 1)), 500);
addEventListener("load", () => wait(60));
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip(f"There is no {', '.join(NAMES)} here, and CHROMIUM names none.")
    folder = tmp_path_factory.mktemp("pages")
    for name, facts in PAGES.items():
        write_page(facts, folder / f"{name}.html")
    frames = "".join(
        f'<iframe id="{name}-{width}" src="{name}.html" width="{width}" height="900"></iframe>'
        for name in PAGES
        for width in WIDTHS
    )
    (folder / "all.html").write_text(f"<pre id='found'></pre>{frames}<script>{LOOK}</script>", encoding="utf-8")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--dump-dom", (folder / "all.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    return json.loads(re.search(r"<pre id=\"found\">(.*?)</pre>", done.stdout)[1]), done.stderr


@pytest.mark.slow
def test_every_figure_is_drawn(seen):
    found, _ = seen
    for name, number in FIGURES.items():
        for width in WIDTHS:
            assert (found[f"{name}-{width}"]["places"], found[f"{name}-{width}"]["drawn"]) == (number, number), name


@pytest.mark.slow
def test_the_browser_complains_of_nothing(seen):
    _, said = seen
    complaints = [line for line in said.splitlines() if "CONSOLE" in line or "Uncaught" in line]
    assert not complaints


@pytest.mark.slow
def test_nothing_sticks_out_of_a_wide_or_a_narrow_page(seen):
    found, _ = seen
    for name in PAGES:
        for width in WIDTHS:
            assert found[f"{name}-{width}"]["width"] <= width, name
            assert found[f"{name}-{width}"]["widest"] <= width, name
