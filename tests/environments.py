"""Environments of their own for programs whose packages are none of the tap's business, made by uv under .run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".run" / "environments"
BIN = "Scripts" if os.name == "nt" else "bin"


def environment(name: str, requirements: Sequence[str]) -> Path:
    """Make an environment, if it is not there with these requirements.

    Args:
        name: What it is called; it works with the Python that it was made with, which stands in its folder's name too.
        requirements: What is installed in it.

    Returns:
        The folder of its programs.
    """
    home = HOME / f"{name}-python{sys.version_info.major}.{sys.version_info.minor}"
    complete = home / "requirements.txt"
    wanted = "".join(f"{requirement}\n" for requirement in requirements)
    HOME.mkdir(parents=True, exist_ok=True)
    with FileLock(HOME / f"{home.name}.lock"):  # tests that run at the same time may want the same one
        if not (complete.exists() and complete.read_text(encoding="utf-8") == wanted):
            _uv("venv", "--clear", f"--python={sys.executable}", str(home))
            _uv("pip", "install", f"--python={home}", *requirements)
            complete.write_text(wanted, encoding="utf-8")
    return home / BIN


def requirements_of(example: str) -> list[str]:
    """The packages of an example, of exact versions."""
    return (ROOT / "examples" / example / "requirements.txt").read_text(encoding="utf-8").splitlines()


def with_the_real_date() -> dict[str, str]:
    """Return the variables for a program that downloads: certificates do not hold on any date (`./run --date`)."""
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


def _uv(*arguments: str) -> None:
    """Run uv without the project's pins, which are for the project's own environment."""
    command = [os.environ.get("UV", "uv"), *arguments, f"--project={ROOT.anchor}", "--quiet"]
    done = subprocess.run(  # noqa: S603 - from above
        command, env=with_the_real_date(), capture_output=True, check=False, text=True
    )
    assert done.returncode == 0, done.stderr
