"""Axes of figures, and the script that draws them."""

import base64
import gzip
import re

import plotly.offline
from facts_by_hand import RUN

from limbeck.report.figures.drawing import log_axis
from limbeck.report.page import page


def test_the_script_on_the_page_is_the_one_that_comes_with_the_python_package():
    packed = re.search(r'<script type="text/plain" id="plotly">([A-Za-z0-9+/=]+)</script>', page(RUN))[1]
    assert gzip.decompress(base64.b64decode(packed)).decode() == plotly.offline.get_plotlyjs()
    assert page(RUN) == page(RUN)


def test_a_logarithmic_axis_has_round_numbers():
    found = log_axis("rate", [0.002, 0.09])
    assert found["type"] == "log"
    assert {"0.003", "0.01", "0.03"} <= set(found["ticktext"])
    assert found["range"][0] < -2.7 < -1.05 < found["range"][1]


def test_values_that_span_little_or_reach_zero_have_a_plain_axis():
    for values in ([], [3.0, 5.0], [0.0, 100.0], [-1.0, 10.0]):
        assert "type" not in log_axis("rate", values)
