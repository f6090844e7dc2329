"""What the names of the tap's files say: the stream, the run, and the folder of the run."""

from __future__ import annotations

import re

LOCAL = "file://"
"""How the address of a local file begins."""
_NAME = re.compile(r"(?P<stream>.+)-(?P<time>\d{8}T\d+Z)-(?P<run>[0-9a-f]{8})-\d{5,}\.parquet")
"""The name of a file: prefix and stream, time, run, number."""
_PARTITION = re.compile(r"\w+=[^/]*")
"""A folder such as ``read_date=2026-11-28``."""


def run_of(name: str) -> str | None:
    """Return the part of a file's name that all files of one run of the tap share; None if another program named it."""
    return found["run"] if (found := _NAME.fullmatch(name)) else None


def is_of_stream(name: str, stream: str) -> bool:
    """Return True if a name is that of a file of a stream."""
    found = _NAME.fullmatch(name)
    return found is not None and found["stream"].endswith(stream)


def is_later(name: str, other: str) -> bool:
    """Return True if a file is of the same stream as another one, and of a later run."""
    mine, theirs = _NAME.fullmatch(name), _NAME.fullmatch(other)
    if not mine or not theirs:
        return False
    # Whether the prefix is in the name depends on the layout.
    if not (mine["stream"].endswith(theirs["stream"]) or theirs["stream"].endswith(mine["stream"])):
        return False
    return mine["run"] != theirs["run"] and mine["time"] > theirs["time"]


def folder_of(path: str, stream: str) -> str:
    """Return the folder below which a run has its files, whatever the layout is.

    Args:
        path: The path of one of the files.
        stream: The stream that this file belongs to.
    """
    *folders, _ = path.split("/")
    while folders and _PARTITION.fullmatch(folders[-1]):
        folders.pop()
    if folders and folders[-1].endswith(stream):
        folders.pop()
    return "/".join(folders) or "/"
