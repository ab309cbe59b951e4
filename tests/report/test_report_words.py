"""Numbers as a page writes them, against values written by hand."""

import pytest

from limbeck.report.words import amount, count, decimal, duration, listing, number, settings, share, size, spread


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (count(26122.0), "26,122"),
        (amount(5.0), "5"),
        (amount(-3.0), "−3"),
        (amount(13.86), "13.9"),
        (amount(0.256), "0.26"),
        (amount(-0.0001), "0.00"),
        (amount(1234.5), "1,234"),
        (amount(-2.25), "−2.2"),
        (spread(13.9, 4.21), "13.9 ± 4.2"),
        (spread(5.0, None), "5"),
        (share(0.0404), "4.0%"),
        (share(1.0), "100%"),
        (share(0.99999), "> 99.9%"),
        (share(0.00002), "< 0.1%"),
        (decimal(0.12345), "0.123"),
        (decimal(0.0000123), "1.23e-05"),
        (decimal(float("nan")), "not finite"),
        (number(0.012345), "0.0123"),
        (number(12), "12"),
        (settings({"rate": 0.003, "weight_decay": 1e-5, "epochs": 3}), "rate 0.003, weight decay 1e-05, epochs 3"),
        (duration(4.1e-5), "41 µs"),
        (duration(2.5e-3), "2.5 ms"),
        (duration(12.0), "12 s"),
        (listing(["a"]), "a"),
        (listing(["a", "b", "c"]), "a, b and c"),
        (listing([]), ""),
        (size(512), "512 bytes"),
        (size(5928), "5.9 kB"),
    ],
)
def test_numbers_are_written_for_readers(written, said):
    assert written == said
