"""The script that draws the figures is the one that the Python package was made for."""

import re
from importlib.resources import files

import plotly.offline

from limbeck.report.figures.drawing import log_axis

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


def test_a_logarithmic_axis_has_round_numbers():
    found = log_axis("rate", [0.002, 0.09])
    assert found["type"] == "log"
    assert {"0.003", "0.01", "0.03"} <= set(found["ticktext"])
    assert found["range"][0] < -2.7 < -1.05 < found["range"][1]


def test_values_that_span_little_or_reach_zero_have_a_plain_axis():
    for values in ([], [3.0, 5.0], [0.0, 100.0], [-1.0, 10.0]):
        assert "type" not in log_axis("rate", values)
