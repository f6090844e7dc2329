"""Environments of their own, in the folder .run, for programs whose packages are none of the tap's business."""

# ruff: noqa: INP001 - beside programs, not in a package

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = "Scripts" if os.name == "nt" else "bin"
# From here uv sees the configuration of the user, but not that of the project, which has pins.
NO_PINS = f"--project={ROOT.anchor}"


def home_of(name: str) -> Path:
    """Where an environment is. It works with the Python that it was made with, so each Python has its own."""
    return ROOT / ".run" / f"{name}-python{sys.version_info.major}.{sys.version_info.minor}"


def program(name: str, command: str) -> str:
    """The path of a program in an environment."""
    return str(home_of(name) / PROGRAMS / command)


def prepare(name: str, *packages: str, call: Callable[[list[str]], object] | None = None) -> None:
    """Make an environment, if it is not there, and see that it has the packages.

    Args:
        name: What it is called.
        packages: What uv takes: packages, or ``-r`` and a file of them.
        call: Runs a command, and fails where it fails; None for one that says nothing but errors.
    """
    call = call or _call
    uv = os.environ.get("UV", "uv")
    python = program(name, "python")
    if not Path(python).exists():
        call([uv, "venv", "--quiet", "--clear", NO_PINS, "--python", sys.executable, str(home_of(name))])
    call([uv, "pip", "install", "--quiet", NO_PINS, "--python", python, *packages])


def _call(command: list[str]) -> None:
    subprocess.run(command, check=True)  # noqa: S603 - uv
