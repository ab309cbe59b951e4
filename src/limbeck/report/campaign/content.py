"""What the page of a comparison says, section by section; a section without facts is left out."""

from collections.abc import Mapping
from typing import Any

from limbeck.report.campaign.arms import arms_table, cost_figures
from limbeck.report.campaign.calibration import calibration
from limbeck.report.campaign.contrasts import contrasts
from limbeck.report.campaign.fidelity import fidelity
from limbeck.report.campaign.landscape import landscape
from limbeck.report.campaign.learning import drawn_arms, learning_curves
from limbeck.report.campaign.looks import look_of, looks
from limbeck.report.campaign.matrices import dark
from limbeck.report.campaign.provenance import provenance
from limbeck.report.campaign.pulls import pulls
from limbeck.report.campaign.search import search
from limbeck.report.campaign.softening import softening
from limbeck.report.campaign.verdicts import headline, helped_card, lede, numbers, replace_card

SECTIONS = (
    ("verdicts", "The two verdicts"),
    ("costs", "Errors, size and speed"),
    ("contrasts", "Rivals and ablations"),
    ("learning", "How they learned"),
    ("softening", "What the teacher tells"),
    ("calibration", "How sure, how right"),
    ("dark", "What resembles what"),
    ("fidelity", "Doing as the teacher does"),
    ("pulls", "What moved the student"),
    ("landscape", "Where the students land"),
    ("search", "How settings were chosen"),
    ("provenance", "How this was made"),
)
"""Every section in its place: its anchor and its title."""


def campaign_content(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the template `campaign.html` asks for."""
    known = looks(facts)
    learned = learning_curves(facts)
    temperature = (facts.get("fidelity") or {}).get("temperature") or (facts.get("dark") or {}).get("temperature")
    parts: dict[str, Any] = {
        "verdicts": [card for card in (helped_card(facts), replace_card(facts)) if card is not None],
        "costs": arms_table(facts),
        "contrasts": contrasts(facts),
        "learning": learned,
        "softening": softening(facts.get("samples"), temperature),
        "calibration": calibration(facts),
        "dark": dark(facts),
        "fidelity": fidelity(facts),
        "pulls": pulls(facts),
        "landscape": landscape(facts),
        "search": search(facts),
        "provenance": provenance(facts),
    }
    return {
        "title": facts["title"],
        "headline": headline(facts),
        "lede": lede(facts),
        "numbers": numbers(facts),
        "cost_figures": cost_figures(facts),
        "curve_arms": [look_of(known, name) for name in drawn_arms(facts)],
        "sections": [(name, title) for name, title in SECTIONS if parts[name]],
        "drawn": True,
        **parts,
    }
