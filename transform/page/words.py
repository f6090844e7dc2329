"""Numbers, names and lists in words."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MISSING = "-"
HALF_A_CENT = 0.005
MINUTE, HOUR = 60, 3600
_SPACES = re.compile(r"\s+")
# Characters without width that turn the direction of all that follows, or break lines.
_CONTROLS = re.compile("[\u0000-\u0008\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]")
_PIXELS = {"upper": 8.4, "other": 6.7, "wide": 13.0}


def money(value: Any) -> str:  # noqa: ANN401 - a number of any kind
    """Return an amount with two digits; one that would be rounded to 0 is said to be less than a cent."""
    if value and abs(value) < HALF_A_CENT:
        return "< 0.01" if value > 0 else "> \u22120.01"
    return f"{value:,.2f}".replace("-", "\u2212")


def count(value: Any) -> str:  # noqa: ANN401 - likewise
    """Return a number of things."""
    return f"{int(value):,}".replace("-", "\u2212")


def share(value: Any) -> str:  # noqa: ANN401 - likewise
    """Return a share of 1 in percent. Only what is all of it is 100%, and only nothing is 0%."""
    shown = f"{value:.1%}"
    if shown == "100.0%" and value < 1:
        return "> 99.9%"
    return "< 0.1%" if shown == "0.0%" and value > 0 else shown


def seconds(value: float) -> str:
    """Return a length of time."""
    if value < MINUTE:
        return f"{value:.2g} s"
    return f"{value / MINUTE:.3g} min" if value < HOUR else f"{value / HOUR:,.1f} h"


FORMATS: Mapping[str, Callable[[Any], str]] = {
    "count": count,
    "money": money,
    "share": share,
    "seconds": seconds,
    "number": str,
}
"""How the numbers of a table are written, by kind; `number` is one that is written already."""


def plural(number: int, singular: str, more: str = "") -> str:
    """Return a number of things with their name."""
    return f"{number:,} {singular if number == 1 else more or f'{singular}s'}"


def listed(names: Sequence[str], most: int = 12) -> str:
    """Return names as a list; if there are too many, the first ones and how many others."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {plural(len(names) - most, 'other')}"
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def clean(name: str) -> str:
    """Return a name in one line, without characters that would change what stands beside it."""
    return _SPACES.sub(" ", _CONTROLS.sub("", name)).strip()


def pixels(text: str) -> float:
    """Estimate the width of a text in a chart."""
    return sum(
        _PIXELS["wide" if unicodedata.east_asian_width(letter) in "WF" else "upper" if letter.isupper() else "other"]
        for letter in text
    )


def shortened(text: str, width: float) -> str:
    """Cut out the middle of a text that is wider than so many pixels. Its end tells names of one beginning apart."""
    if pixels(text) <= width:
        return text
    kept = len(text)
    while kept > 1 and pixels(cut := f"{text[: kept - kept // 2]}\u2026{text[len(text) - kept // 2 :]}") > width:
        kept -= 1
    return cut
