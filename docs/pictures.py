"""The pictures of docs/answers.md, taken out of a page of `./run report`: `python -m docs.pictures PAGE`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STYLE = ROOT / "transform" / "page" / "page.css"
PICTURES = ROOT / "docs" / "static" / "answers"
SECTIONS = ("cost_by_day", "delivery", "latency", "losses")


def main(path: str) -> None:
    """Write the first chart of each section, in the colors of a light page."""
    page = Path(path).read_text(encoding="utf-8")
    light, _, _ = STYLE.read_text(encoding="utf-8").partition("@media")
    colors = dict(re.findall(r"(--[a-z0-9]+): (#[0-9a-f]{6})", light))
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name in SECTIONS:
        svg = re.findall(rf'<section id="{name}">.*?<div class="chart wide"[^>]*>(<svg.*?</svg>)', page, re.DOTALL)[0]
        svg = re.sub(r"var\((--[a-z0-9]+)\)", lambda found: colors[found[1]], svg)
        svg = svg.replace('style="max-width:', f'style="background:{colors["--paper"]};max-width:', 1)
        (PICTURES / f"{name}.svg").write_text(f"{svg}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
