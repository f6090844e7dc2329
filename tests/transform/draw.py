"""Make the page of each DuckDB file in a folder: `python -m tests.transform.draw FOLDER`.

In a process of its own, because the charts are drawn by V8, whose threads stay and have crashed later tests.
"""

from __future__ import annotations

import sys
from pathlib import Path

from transform.page.marts import open_marts
from transform.page.page import build

if __name__ == "__main__":
    for database in sorted(Path(sys.argv[1]).glob("*.duckdb")):
        with open_marts(str(database), "analytics") as marts:
            database.with_suffix(".html").write_text(build(marts), encoding="utf-8")
