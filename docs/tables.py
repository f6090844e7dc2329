"""Sphinx extension for tables of class ``labeled``: on a narrow screen, each cell says which column it is in.

The label is in every cell, and site.css shows it only where the cells of a row stand below each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

if TYPE_CHECKING:
    from sphinx.application import Sphinx


class CellLabels(SphinxPostTransform):
    """Put the name of its column before the text of each cell but the first of a row."""

    default_priority = 500
    formats = ("html",)

    def run(self, **_: object) -> None:
        """Label the tables of a page."""
        for table in self.document.findall(nodes.table):
            if "labeled" in table["classes"]:
                names = [entry.astext() for head in table.findall(nodes.thead) for entry in head.findall(nodes.entry)]
                for row in (row for body in table.findall(nodes.tbody) for row in body.findall(nodes.row)):
                    for name, entry in list(zip(names, row.findall(nodes.entry), strict=True))[1:]:
                        text = next(entry.findall(nodes.paragraph), None)
                        if name and text:
                            text.insert(0, nodes.inline("", f"{name}: ", classes=["cell-label"]))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the labels with Sphinx."""
    app.add_post_transform(CellLabels)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
