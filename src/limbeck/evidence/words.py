"""How the verdicts write numbers: rounded for a reader, with a true minus sign."""


def points(value: float) -> str:
    """Percentage points: two decimals, or one digit that matters where that would be zero.

    >>> points(1.25), points(-0.3), points(0.004), points(-1e-17)
    ('1.25', '−0.30', '0.004', '0.00')
    """
    if abs(value) < 1e-9:
        return "0.00"
    text = f"{value:.2f}" if abs(value) >= 0.005 else f"{value:.1g}"
    return text.replace("-", "−", 1) if text.startswith("-") else text


def percent(share: float) -> str:
    """A confidence level: 95 %, 96.9 %.

    >>> percent(0.95), percent(0.96875)
    ('95 %', '96.9 %')
    """
    return f"{100 * share:.1f}".removesuffix(".0") + " %"


def probability(value: float) -> str:
    """A p-value: = 0.031, or < 0.001.

    >>> probability(0.03125), probability(0.00001), probability(1.0)
    ('= 0.031', '< 0.001', '= 1')
    """
    return "< 0.001" if value < 0.001 else f"= {round(value, 3):g}"


def counted(number: int, what: str) -> str:
    """A number of things: 1 pair, 8 pairs."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
