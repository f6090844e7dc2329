"""Sphinx configuration of the documentation site."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

project = "tap-vonage-reports"
language = "en"
extensions = ["myst_parser", "docs.reference", "docs.tables"]
exclude_patterns = ["generated", "hub"]  # docs/hub goes to the Meltano hub, not on the site
nitpicky = True
smartquotes = False  # so that a search finds a message as the tap writes it

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "tap-vonage-reports"
html_logo = html_favicon = "hub/logo.svg"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
html_theme_options: dict[str, list[str]] = {"top_of_page_buttons": []}
