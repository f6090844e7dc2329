from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from tap_vonage_reports.sandbox import Clock, Sandbox


def test_a_clock_without_a_moment_shows_the_real_time() -> None:
    before = datetime.now(timezone.utc)
    shown = Clock().now()
    assert before <= shown <= datetime.now(timezone.utc)


def test_a_fixed_clock_moves_only_by_hand() -> None:
    clock = Clock("2026-11-20T01:00:00+01:00")
    assert clock.now() == clock.now() == datetime(2026, 11, 20, tzinfo=timezone.utc)
    clock.advance(days=1, hours=2, minutes=3, seconds=4)
    assert clock.now() == datetime(2026, 11, 21, 2, 3, 4, tzinfo=timezone.utc)
    clock.set(datetime(2026, 1, 1, tzinfo=timezone.utc))
    assert clock.now() == datetime(2026, 1, 1, tzinfo=timezone.utc)


def test_a_clock_can_run_on_from_where_it_stands() -> None:
    clock = Clock("2020-01-01T00:00:00Z")
    clock.run()
    first = clock.now()
    assert first - datetime(2020, 1, 1, tzinfo=timezone.utc) < timedelta(minutes=1)
    clock.advance(hours=1)
    assert timedelta(hours=1) <= clock.now() - first < timedelta(hours=1, minutes=1)


def test_a_moment_without_an_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="needs an offset"):
        Clock("2026-11-20T00:00:00")


def test_a_sandbox_runs_in_real_time_unless_told_otherwise() -> None:
    assert abs(Sandbox().clock.now() - datetime.now(timezone.utc)) < timedelta(minutes=1)
