"""The page of a campaign in a headless Chromium, offline: it opens, its slider moves, it fits, it prints.

Screenshots are kept in build/screenshots, or where LIMBECK_SCREENSHOTS says.
"""

import os
import re
import shutil
from pathlib import Path

import pytest
from campaign_by_hand import CAMPAIGN, ODD

from limbeck.report.campaign.content import SECTIONS
from limbeck.report.page import write_page

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install -e '.[test]'")

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
SCREENSHOTS = Path(os.environ.get("LIMBECK_SCREENSHOTS") or Path(__file__).parents[2] / "build" / "screenshots")
WIDE, NARROW = 1440, 400

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason=f"There is no {', '.join(NAMES)} here, and CHROMIUM names none."),
]

DRAWN = """() => {
  const plots = [...document.querySelectorAll(".plot")];
  return plots.length && plots.every((plot) => plot.querySelector(".main-svg"));
}"""
STICKING_OUT = """() => [...document.querySelectorAll("body *")].filter((element) => {
  const box = element.getBoundingClientRect();
  if (!box.width || box.right <= innerWidth + 1) return false;
  for (let at = element; at; at = at.parentElement) {  // what scrolls within its own frame does not stick out
    if (["auto", "scroll", "hidden"].includes(getComputedStyle(at).overflowX)) return false;
  }
  return true;
}).map((element) => element.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    return {name: write_page(facts, folder / f"{name.replace(' ', '-')}.html") for name, facts in ODD.items()}


class Seen:
    """A page and what the browser had to say about it."""

    def __init__(self, browser, path, width=WIDE, **context):
        self.complaints, self.requests = [], []
        self.context = browser.new_context(viewport={"width": width, "height": 900}, offline=True, **context)
        self.page = self.context.new_page()
        self.page.on("console", lambda said: self.complaints.append(said.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_function(DRAWN) if self.page.query_selector(".plot") else None

    def shot(self, name, **more):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"campaign-{name}.png", **more)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()


@pytest.fixture(scope="module")
def helped(browser, pages):
    with Seen(browser, pages["helped"]) as seen:
        yield seen


def test_it_opens_offline_and_asks_for_nothing(helped, pages):
    helped.shot("light", full_page=True)
    assert {address.partition(":")[0] for address in helped.requests} <= {"file", "data"}
    assert [address for address in helped.requests if address.startswith("file")] == [pages["helped"].as_uri()]
    assert pages["helped"].stat().st_size < 6_000_000


def test_nothing_is_amiss_and_every_section_is_there(helped):
    assert helped.complaints == []
    assert helped.page.eval_on_selector_all("main > section", "all => all.map((one) => one.id)") == [
        n for n, _ in SECTIONS
    ]
    for name, title in SECTIONS:
        assert helped.page.text_content(f"#{name} h2") == title


def test_the_two_verdicts_stand_side_by_side_on_top(helped):
    first, second = (card.bounding_box() for card in helped.page.query_selector_all(".verdict"))
    assert first["y"] == second["y"] < 400
    assert first["x"] + first["width"] <= second["x"]


def bars(page, column):
    return page.eval_on_selector_all(
        "#softened tr", f"rows => rows.map((row) => parseFloat(row.cells[{column}].querySelector('i').style.width))"
    )


def kept(who, temperature, row):
    return [100 * share for share in CAMPAIGN["samples"]["answers"][who][temperature][row]]


def test_the_slider_moves_by_keyboard_and_the_bars_follow(helped):
    page = helped.page
    page.focus("#temperature")
    for key, temperature in (
        ("Home", "1"),
        ("ArrowRight", "2"),
        ("ArrowRight", "4"),
        ("End", "20"),
        ("ArrowLeft", "8"),
    ):
        page.keyboard.press(key)
        assert page.text_content("#temperature-now") == f"T = {temperature}"
        assert page.get_attribute("#temperature", "aria-valuetext") == f"T = {temperature}"
        assert bars(page, 1) == pytest.approx(kept("teacher", temperature, 0), abs=0.01)
        assert bars(page, 2) == pytest.approx(kept("student", temperature, 0), abs=0.01)


def test_the_slider_moves_by_mouse(helped):
    page = helped.page
    page.focus("#temperature")
    page.keyboard.press("Home")
    box = page.query_selector("#temperature").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 8, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 2, middle, steps=5)
    page.mouse.up()
    assert page.text_content("#temperature-now") == "T = 20"
    assert bars(page, 1) == pytest.approx(kept("teacher", "20", 0), abs=0.01)


def test_rows_are_chosen_by_keyboard_and_show_their_own_picture_label_and_answers(helped):
    page = helped.page
    page.focus("#softener input[name=row]:checked")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.eval_on_selector_all(".one:not([hidden])", "all => all.map((one) => one.dataset.row)") == ["2"]
    assert bars(page, 1) == pytest.approx(kept("teacher", "20", 2), abs=0.01)
    assert page.eval_on_selector_all("#softened .true th", "all => all.map((one) => one.firstChild.data)") == ["2"]
    best = max(range(10), key=kept("teacher", "20", 2).__getitem__)
    assert page.text_content("[data-says=teacher]").startswith(f"{best} (")
    page.query_selector("#softening").scroll_into_view_if_needed()
    helped.shot("slider")


def test_ticking_an_arm_shows_it_in_every_figure_of_its_group(helped):
    page = helped.page

    def shown():
        return page.eval_on_selector(
            '.plot[data-group="curves"]', "plot => plot.data.filter((t) => t.visible !== false).map((t) => t.meta)"
        )

    assert set(shown()) == {"distilled", "alone"}
    page.focus('.picks[data-group="curves"] input[value="permuted"]')
    page.keyboard.press("Space")
    assert set(shown()) == {"distilled", "alone", "permuted"}
    page.keyboard.press("Space")
    assert set(shown()) == {"distilled", "alone"}


def test_controls_have_names_and_pictures_have_texts(helped):
    unnamed = helped.page.evaluate(
        """() => [...document.querySelectorAll("input, img, [role=img], nav, [role=region]")].filter((found) =>
          !(found.getAttribute("aria-label") || found.alt !== undefined && found.hasAttribute("alt")
            || found.labels?.[0]?.textContent.trim() || found.labels?.[0]?.querySelector("img[alt]")))
          .map((found) => found.outerHTML.slice(0, 100))"""
    )
    assert unnamed == []


def test_the_dark_page_is_dark(browser, pages):
    with Seen(browser, pages["helped"], color_scheme="dark") as seen:
        seen.shot("dark", full_page=True)
        assert seen.complaints == []
        paper, ink = seen.page.evaluate(
            "() => { const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]; }"
        )
        assert sum(map(int, re.findall(r"\d+", paper))) < 150 < 500 < sum(map(int, re.findall(r"\d+", ink)))


@pytest.mark.parametrize("name", ["helped", "many classes", "texts", "markup"])
def test_nothing_sticks_out_of_a_phone(browser, pages, name):
    with Seen(browser, pages[name], NARROW) as seen:
        if name == "helped":
            seen.shot("phone", full_page=True)
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= NARROW
        assert seen.page.evaluate(STICKING_OUT) == []
        assert seen.complaints == []


def test_users_markup_does_nothing(browser, pages):
    with Seen(browser, pages["markup"]) as seen:
        seen.page.on("dialog", lambda dialog: seen.complaints.append(dialog.message))
        seen.page.focus("#temperature")
        seen.page.keyboard.press("End")
        assert seen.complaints == []
        assert "<script>alert(1)</script>" in seen.page.text_content("#softened")


def test_of_a_sigmoid_head_all_labels_likelier_than_not_are_named(browser, pages):
    with Seen(browser, pages["sigmoid"]) as seen:
        shown = dict(zip("0123456789", bars(seen.page, 1), strict=True))
        wanted = ", ".join(name for name, width in shown.items() if width > 50) or "none"
        assert seen.page.text_content("[data-says=teacher]") == wanted


@pytest.mark.parametrize(
    "name", ["cannot tell", "no worthwhile difference", "harmed", "refused", "bare", "sigmoid", "features"]
)
def test_every_other_page_opens_too(browser, pages, name):
    with Seen(browser, pages[name]) as seen:
        seen.shot(name.replace(" ", "-"))
        assert seen.complaints == []


def test_it_prints(browser, pages):
    with Seen(browser, pages["helped"], 1100) as seen:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        margin = dict.fromkeys(("top", "bottom", "left", "right"), "14mm")
        printed = seen.page.pdf(path=SCREENSHOTS / "campaign.pdf", format="A4", margin=margin, print_background=True)
        assert printed.startswith(b"%PDF")
        assert 5 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 25
        seen.page.emulate_media(media="print")
        assert not seen.page.is_visible("nav.contents")
        assert not seen.page.is_visible("#temperature")
        assert seen.page.is_visible("#temperature-now")
        assert seen.complaints == []
