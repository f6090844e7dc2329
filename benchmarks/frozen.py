"""Runs the tap of a source tree while its clock stands still: `python frozen.py TREE TIME ARGUMENT...`.

The tap estimates Vonage's time from the last `Date` header and the local clock. With a running clock, seconds that
depend on the machine's load would end up in requests and in state. Only `datetime.now` is replaced: timeouts, pauses
and rate limits use the monotonic clock and work as usual.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import runpy
import sys
from datetime import datetime, timezone, tzinfo

PACKAGE = "tap_vonage_reports"


def main() -> None:
    """Run the tap's command; exit with an error message if another tree's tap would be imported."""
    tree, time = sys.argv[1:3]
    del sys.argv[1:3]
    sys.path[0] = tree
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.submodule_search_locations != [f"{tree}/{PACKAGE}"]:
        sys.exit(f"{PACKAGE} would not be imported from the tree under test.")
    freeze(datetime.fromisoformat(time))
    runpy.run_module(PACKAGE, run_name="__main__", alter_sys=True)


def freeze(moment: datetime) -> None:
    """Make `datetime.now` return a moment from now on.

    A subclass in place of `datetime` would not do: msgspec and pyarrow look for the exact type. So the method is
    replaced in the type itself, whose dictionary Python otherwise only shows.

    Args:
        moment: An aware time.
    """

    def now(_cls: type[datetime], tz: tzinfo | None = None) -> datetime:
        return moment.astimezone(tz) if tz else moment.astimezone().replace(tzinfo=None)

    gc.get_referents(datetime.__dict__)[0]["now"] = classmethod(now)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(datetime))
    if datetime.now(timezone.utc) != moment:
        sys.exit("The clock cannot be stopped in this version of Python.")


if __name__ == "__main__":
    main()
