"""How to get and install the tap, in one place: the README, the guide and the site's first page use these lines."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

RELEASED = False
"""True once the package is on PyPI. Then run `python -m tests.test_readme`, and `pip_url` in docs/hub/ is right."""


def clone_lines() -> Iterator[str]:
    """Yield the lines of Markdown that say where to run the demo, with a link if the repository's address is known.

    GitHub's workflows give the address; a local build knows none.
    """
    server, name = os.environ.get("GITHUB_SERVER_URL"), os.environ.get("GITHUB_REPOSITORY")
    where = f"[the repository]({server}/{name})" if server and name else "the repository"
    yield f"Try it without a Vonage account, in a clone of {where}:"


def install_lines() -> Iterator[str]:
    """Yield the lines of Markdown that say how to install the tap today."""
    if not RELEASED:
        yield "The package is not published yet. In a clone, with [uv](https://docs.astral.sh/uv) or pipx:"
        yield ""
    source = "tap-vonage-reports" if RELEASED else "."
    yield "```sh"
    yield f"uv tool install {source}      # or: pipx install {source}"
    yield f"uv tool install '{source}[parquet,load,s3,sandbox]'"
    yield "```"
