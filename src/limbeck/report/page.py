"""The page of a run, comparison, search or sweep: one HTML file that opens offline and asks nothing of any network."""

import base64
import gzip
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from limbeck.errors import MissingExtra, RunError
from limbeck.files import write_text
from limbeck.report.campaign.content import campaign_content
from limbeck.report.figures.drawing import PALETTE
from limbeck.report.run_page import run_content
from limbeck.report.search_page import search_content
from limbeck.report.sweep_page import sweep_content

_CONTENT: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "run": run_content,
    "campaign": campaign_content,
    "search": search_content,
    "sweep": sweep_content,
}


def write_page(facts: Mapping[str, Any], path: Path) -> Path:
    """Write the page of the facts of a run, a comparison, a search or a sweep, and return its path.

    Raises: MissingExtra without Plotly or Jinja2; RunError for facts of no such kind.
    """
    write_text(path, page(facts))
    return path


def page(facts: Mapping[str, Any]) -> str:
    """Return the page as HTML. Raises: as `write_page`."""
    try:
        import jinja2
        import plotly.graph_objects  # noqa: F401 - the figures need it
    except ImportError as error:
        raise MissingExtra("the page", "report") from error
    kind = facts.get("kind")
    if kind not in _CONTENT:
        raise RunError(f"The page shows the facts of a run, a campaign, a search or a sweep. Got the kind {kind!r}.")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("limbeck.report"),
        autoescape=True,  # titles, class names and texts are users' data
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    around = {**(facts.get("setting") or {}), **(facts.get("provenance") or {}), **facts}
    return environment.get_template(f"{kind}.html").render(
        _CONTENT[kind](facts),
        palette=PALETTE,
        plotly=_packed,
        versions=_present(around.get("versions")),
        hardware=_hardware(around.get("hardware")),
    )


@cache
def _packed() -> str:
    """The script that draws the figures, as it comes with the Python package: gzip, then base64."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()


def _present(versions: Mapping[str, str | None] | None) -> str:
    return ", ".join(f"{name} {version}" for name, version in (versions or {}).items() if version)


def _hardware(found: Mapping[str, Any] | None) -> str:
    if not found:
        return ""
    device, name = str(found.get("device", "")), str(found.get("name") or "")
    parts = [device.upper() + (f" ({name})" if name else "")]
    for key, one, many in (("processes", "process", "processes"), ("threads", "thread", "threads")):
        if found.get(key):
            parts.append(f"{found[key]} {one if found[key] == 1 else many}")
    if found.get("cores"):
        parts[-1] += f" of {found['cores']} cores"
    return ", ".join(part for part in parts if part) + (", bfloat16" if found.get("bfloat16") else ", float32")
