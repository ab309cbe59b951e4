"""How numbers are written on a page: rounded for a reader, with a true minus sign and the unit that suits."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any


def count(value: float) -> str:
    """A whole number with thousands apart: 26,122."""
    return f"{value:,.0f}"


def amount(value: float) -> str:
    """A mean of counts: whole as it is, else two decimals below one, one below a hundred, none above."""
    if float(value).is_integer():
        return minus(count(value))
    digits = 2 if abs(value) < 1 else 1 if abs(value) < 100 else 0
    return minus(f"{value:,.{digits}f}")


def spread(mean: float, sd: float | None) -> str:
    """A mean and, where there is one, its standard deviation, with as many decimals: 13.3 ± 1.2."""
    if sd is None:
        return amount(mean)
    digits = 2 if abs(mean) < 1 else 1 if abs(mean) < 100 else 0
    return f"{mean:,.{digits}f} ± {sd:,.{digits}f}"


def minus(text: str) -> str:
    """Put the minus sign where a hyphen stands in front of a number, and none in front of zero."""
    if text.startswith("-") and not text.strip("-0.,%"):
        return text[1:]
    return text.replace("-", "−", 1) if text.startswith("-") else text


def share(value: float) -> str:
    """A share in [0, 1] as a percentage with one decimal; only none is 0% and only all is 100%."""
    if value in (0, 1):
        return f"{value:.0%}"
    return "> 99.9%" if value >= 0.9995 else "< 0.1%" if value < 0.0005 else f"{value:.1%}"


def decimal(value: float) -> str:
    """A score or a loss with three digits that matter."""
    if not isfinite(value):
        return "not finite"
    return minus(f"{value:.3f}" if 0.001 <= abs(value) < 1000 or value == 0 else f"{value:.2e}")


def rate(value: float) -> str:
    """A learning rate: 0.003."""
    return f"{value:g}"


def number(value: Any) -> str:
    """A setting's value with three digits that matter."""
    return f"{value:.3g}" if isinstance(value, float) else rate(value) if isinstance(value, int) else str(value)


def setting(name: str) -> str:
    """What people call a setting: weight decay, share of labels."""
    return {"hard_weight": "share of labels", "rows": "share of training rows"}.get(name, name.replace("_", " "))


def settings(chosen: Mapping[str, Any]) -> str:
    """Settings in a row: rate 0.003, temperature 4."""
    return ", ".join(f"{setting(name)} {number(value)}" for name, value in chosen.items())


def duration(seconds: float) -> str:
    """Seconds in the unit that leaves one to three digits before the point."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1 or unit == "µs":
            value = seconds * factor
            return f"{value:.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"
    raise AssertionError  # the last unit takes whatever is left


def listing(names: Sequence[str]) -> str:
    """Names in a sentence: a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def size(number: int) -> str:
    """Bytes in the unit that suits."""
    for power, unit in ((3, "GB"), (2, "MB"), (1, "kB")):
        if number >= 1000**power:
            return f"{number / 1000**power:.1f} {unit}"
    return f"{number} bytes"
