"""Whatever happens, what users rely on holds: stories of runs that are disturbed in all ways (see `./run chaos`)."""

from __future__ import annotations

import sys

import pytest

if sys.platform == "win32":
    pytest.skip("Windows has no signals to kill with", allow_module_level=True)

from tests.chaos.play import play

SEEDS = (4, 5, 14, 20, 24, 28, 41, 125)
"""Stories that are soon told; among them every way to end a run, files of both formats, and ids that are not found."""


@pytest.mark.promise("Nothing is lost. The bookmark only moves over time that was read completely.")
@pytest.mark.promise("They are kept up to date while their status still changes.")
@pytest.mark.parametrize("seed", SEEDS)
def test_under_any_faults_nothing_is_lost_invented_or_disclosed(seed: int) -> None:
    play(seed)
