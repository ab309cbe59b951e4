"""How each arm looks wherever it is drawn: colour, dashes and marker together, so that no eye depends on colour."""

from collections.abc import Mapping
from itertools import count as counted
from typing import Any, NamedTuple

from limbeck.report.figures.drawing import DASHES, PALETTE, TERM_COLOURS

_MARKERS = {
    "circle": "M14 1.5a3.5 3.5 0 1 0 .01 0z",
    "square": "M10.8 1.8h6.4v6.4h-6.4z",
    "diamond": "M14 .6l4.4 4.4-4.4 4.4-4.4-4.4z",
    "triangle-up": "M14 1l4.2 7.4h-8.4z",
    "triangle-down": "M14 9l4.2-7.4h-8.4z",
    "star": "M14 .4l1.4 3.1 3.3.4-2.4 2.3.6 3.3-2.9-1.6-2.9 1.6.6-3.3-2.4-2.3 3.3-.4z",
}
_STROKES = {"solid": "", "dash": "6 3", "dot": "2 2.5", "dashdot": "6 2.5 1.5 2.5"}
_OTHERS = ("triangle-up", "triangle-down", "star", "diamond")


class Look(NamedTuple):
    """One arm's."""

    name: str
    title: str
    kind: str
    colour: str
    dash: str
    symbol: str
    shown: bool
    """Whether it is drawn before anybody asks for it: the two arms of the verdict are."""

    @property
    def stroke(self) -> str:
        """The dashes of its key, as SVG has them."""
        return _STROKES[self.dash]

    @property
    def marker(self) -> str:
        """The outline of its key's marker, as an SVG path in a box of 28 × 10."""
        return _MARKERS[self.symbol]


TEACHER = Look("teacher", "teacher", "teacher", PALETTE["ensemble"], "dot", "diamond", True)


def looks(facts: Mapping[str, Any]) -> dict[str, Look]:
    """Return the look of every arm, in the order of the facts."""
    found, number = {}, counted()
    against = (facts.get("verdict") or {}).get("against", "alone")
    for arm in facts.get("arms") or []:
        name, title, kind = arm["name"], arm.get("title") or arm["name"], arm.get("kind", "rival")
        if name == "distilled":
            found[name] = Look(name, title, kind, PALETTE["taught"], "solid", "circle", True)
        elif name == against:
            found[name] = Look(name, title, kind, PALETTE["alone"], "dash", "square", True)
        else:
            place = next(number)
            colour = TERM_COLOURS[place % len(TERM_COLOURS)]
            dash = DASHES[1 + place // len(TERM_COLOURS) % (len(DASHES) - 1)]
            found[name] = Look(name, title, kind, colour, dash, _OTHERS[place % len(_OTHERS)], False)
    return found


def look_of(known: Mapping[str, Look], name: str) -> Look:
    """Return the look of an arm, or of the teacher; of one that the facts do not list, a plain one."""
    if name == "teacher":
        return TEACHER
    return known.get(name) or Look(name, name, "rival", TERM_COLOURS[0], "dot", "triangle-up", False)
