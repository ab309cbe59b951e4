"""The script that draws the figures is the one that the Python package was made for."""

import re
from importlib.resources import files

import plotly.offline

VENDOR = files("limbeck.report") / "vendor"


def test_the_script_on_the_page_has_the_major_version_of_the_python_package():
    found = re.search(
        r"plotly\.js \(cartesian - minified\) v(\d+)\.", (VENDOR / "plotly-cartesian.min.js").read_text("utf-8")
    )
    assert found[1] == plotly.offline.get_plotlyjs_version().partition(".")[0]


def test_the_script_comes_with_its_licence():
    assert "MIT License" in (VENDOR / "LICENSE").read_text("utf-8")


def test_the_script_can_stand_inside_a_page():
    assert "</script" not in (VENDOR / "plotly-cartesian.min.js").read_text("utf-8").lower()
