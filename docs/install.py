"""How to install the tap, in one place: the README and the guide take these lines from here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

RELEASED = False
"""True once the package is on PyPI. Then run `python -m tests.test_readme`, and `pip_url` in docs/hub/ is right."""


def install_lines() -> Iterator[str]:
    """Yield the lines of Markdown that say how to install the tap today."""
    if not RELEASED:
        yield "The package is not published yet. In a clone, or an unpacked archive of one:"
        yield ""
    source = "tap-vonage-reports" if RELEASED else "."
    yield "```sh"
    yield f"uv tool install {source}      # or: pipx install {source}"
    yield f"uv tool install '{source}[parquet,s3,sandbox]'"
    yield "```"
