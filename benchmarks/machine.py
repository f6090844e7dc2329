"""The machine that was measured on: what matters for speed, and nothing that names it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGES = ("singer-sdk", "msgspec", "requests", "pyarrow")


def describe() -> str:
    """Processor, cores, memory, system and Python, in one line."""
    parts = [_processor(), f"{os.cpu_count()} cores", _memory(), _system(), f"Python {platform.python_version()}"]
    return ", ".join(part for part in parts if part)


def versions(more: Mapping[str, str]) -> str:
    """The versions of the main packages here, and others, in one line."""
    found = dict(more)
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(f"{name} {version}" for name, version in sorted(found.items()))


def _processor() -> str:
    if platform.system() == "Darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.check_output(command, text=True).strip()  # noqa: S603 - a system's own program
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.machine()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())


def _memory() -> str:
    size = 0
    if sys.platform != "win32":
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{size / (1 << 30):.0f} GB of memory" if size else ""


def _system() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"
    return f"{name} (kernel {platform.release().partition('-')[0]})"
