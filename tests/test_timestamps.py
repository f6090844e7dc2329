"""Timestamps are parsed in every form that the API has used, and formatted in one."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta, timezone
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_vonage_reports import timestamps
from tap_vonage_reports.records.parser import RecordParser
from tap_vonage_reports.timestamps import (
    format_query_time,
    format_timestamp,
    months_before,
    normalize_timestamp,
    normalize_timestamps,
    parse_time,
)

OUTSIDE = ("0001-01-01T00:00:00+02:00", "9999-12-31T23:59:59-01:00")
"""Times that the calendar has, and not in UTC."""


@pytest.mark.parametrize(
    ("wire", "canonical"),
    [
        ("2024-02-02T13:50:00+00:00", "2024-02-02T13:50:00+00:00"),
        ("2024-02-02T13:50:00+0000", "2024-02-02T13:50:00+00:00"),
        ("2024-02-02T13:50:00Z", "2024-02-02T13:50:00+00:00"),
        ("2024-02-02T13:50:00.123Z", "2024-02-02T13:50:00.123+00:00"),
        ("2024-02-02T13:50:00.000Z", "2024-02-02T13:50:00.000+00:00"),
        ("2024-02-02T13:50:00.123456789Z", "2024-02-02T13:50:00.123456789+00:00"),
        ("2024-3-22 11:24:05+00:00", "2024-03-22T11:24:05+00:00"),
        ("2024-02-02 13:50:00", "2024-02-02T13:50:00+00:00"),
        ("2024-02-02T01:30:00+02:00", "2024-02-01T23:30:00+00:00"),
        ("2024-02-02T23:30:00-0130", "2024-02-03T01:00:00+00:00"),
        ("0999-12-31T23:59:59Z", "0999-12-31T23:59:59+00:00"),
        ("2024-03-01T02:00:00.1234567890123+05:30", "2024-02-29T20:30:00.1234567890123+00:00"),
        ("2023-12-31T22:00:00.0-0330", "2024-01-01T01:30:00.0+00:00"),
        ("2024-10-27T02:30:00+02:00", "2024-10-27T00:30:00+00:00"),
        ("2024-10-27T02:30:00+01:00", "2024-10-27T01:30:00+00:00"),
        ("2024-02-29T12:00:00+14", "2024-02-28T22:00:00+00:00"),
    ],
)
def test_timestamps_are_normalized_and_keep_their_fraction(wire: str, canonical: str) -> None:
    assert normalize_timestamp(wire) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2024-13-01T00:00:00+00:00",
        "2024-02-30T00:00:00Z",
        "2024-02-02",
        "1706881800",
        "0001-01-01T00:00:00+02:00",
        "2024-02-02T24:00:00+00:00",
        "2024-02-02T23:60:00+00:00",
        "2024-02-02T23:59:60+00:00",
        "2023-02-29T12:00:00Z",
        "2024-02-02T13:50:00+24:00",
        "2024-02-02T13:50:00-99:99",
        "2024-02-02T13:50:00+05:60",
        "9999-12-31T23:59:59-00:01",
        "٢٠٢٤-02-02T13:50:00Z",
    ],
)
def test_text_that_is_no_timestamp_is_not_converted(text: str) -> None:
    assert normalize_timestamp(text) is None


def test_a_leap_second_goes_into_extra_unchanged() -> None:
    schema = {
        "properties": {
            "id": {"type": "string"},
            "at": {"type": ["string", "null"], "format": "date-time"},
            "_extra": {"type": ["object", "null"]},
        }
    }
    record = RecordParser(schema).parse({"id": "1", "at": "2016-12-31T23:59:60.5Z"})
    assert record == {"id": "1", "at": None, "_extra": {"at": "2016-12-31T23:59:60.5Z"}}


def test_normalizing_many_equals_normalizing_each() -> None:
    wire = ["2024-02-02T13:50:00+00:00", "", "2024-02-02T13:59:59+00:00", None, "2024-2-2 13:50:00.5Z"] * 2
    assert (
        normalize_timestamps(wire)
        == [
            "2024-02-02T13:50:00+00:00",
            None,
            "2024-02-02T13:59:59+00:00",
            None,
            "2024-02-02T13:50:00.5+00:00",
        ]
        * 2
    )


@pytest.mark.parametrize(
    "text", ["yesterday", "2024-02-02T13:60:00+00:00", "2024-02-30T13:50:00+00:00", "2024-02-02T13"]
)
def test_one_wrong_timestamp_among_many_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="not a time"):
        normalize_timestamps(["2024-02-02T13:50:00+00:00", text, "2024-02-02T13:50:00+00:00"])


@given(st.lists(st.datetimes(min_value=datetime(1970, 1, 1)), max_size=50))  # noqa: DTZ001 - UTC, by the text
def test_the_cache_of_hours_is_bounded(naive: list[datetime]) -> None:
    wire = [time.replace(microsecond=0).isoformat() + "+00:00" for time in naive]
    with mock.patch.object(timestamps, "MAX_CACHED_HOURS", 3):
        assert normalize_timestamps(wire) == wire


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2100, 1, 1)))  # noqa: DTZ001 - the zone is added below
def test_a_formatted_time_parses_to_itself(naive: datetime) -> None:
    time = naive.replace(tzinfo=timezone.utc)
    assert parse_time(format_timestamp(time)) == time
    assert abs(parse_time(format_query_time(time)) - time) < timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-10-01", "2026-10-01T00:00:00+00:00"),
        ("2026-10-01T02:00:00+02:00", "2026-10-01T00:00:00+00:00"),
        ("2026-10-01 10:00", "2026-10-01T10:00:00+00:00"),
    ],
)
def test_usual_forms_of_dates_are_accepted(text: str, expected: str) -> None:
    assert format_timestamp(parse_time(text)) == expected


instants = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2100, 1, 1))  # noqa: DTZ001 - the zone is added
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(instants, offsets, st.text("0123456789", max_size=12))
def test_an_offset_changes_neither_instant_nor_fraction(naive: datetime, offset: timezone, digits: str) -> None:
    time = naive.replace(microsecond=0, tzinfo=timezone.utc)
    local, fraction = time.astimezone(offset), f".{digits}" if digits else ""
    wire = local.isoformat().replace(local.isoformat()[19:], fraction + local.isoformat()[19:])
    assert normalize_timestamp(wire) == f"{time:%Y-%m-%dT%H:%M:%S}{fraction}+00:00"
    assert parse_time(local.isoformat()) == time


@given(st.text(max_size=30) | st.text("0123456789-+:.TZ ", max_size=30).map("2026-10-01".__add__))
def test_any_text_is_parsed_or_rejected(text: str) -> None:
    with suppress(ValueError):
        assert parse_time(text).utcoffset() == timedelta(0)
    assert (normalize_timestamp(text) or "+00:00").endswith("+00:00")


@pytest.mark.parametrize(
    "text", ["", "now", "10:00", "2026", "2026-99-01", "01.10.2026", "2026-10-01/2026-10-02", "P1D", *OUTSIDE]
)
def test_malformed_dates_are_rejected(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message is the caller's to make
        parse_time(text)


def test_query_times_have_no_plus_sign() -> None:
    assert format_query_time(datetime(2026, 10, 1, tzinfo=timezone(timedelta(hours=2)))) == "2026-09-30T22:00:00Z"
    assert format_query_time(datetime(2026, 10, 1, 0, 0, 0, 500000, tzinfo=timezone.utc)) == "2026-10-01T00:00:00.500Z"


@pytest.mark.parametrize(
    ("time", "earlier"),
    [
        ("2026-03-31T12:00", "2025-02-28T12:00"),
        ("2025-03-31T12:00", "2024-02-29T12:00"),
        ("2025-03-29T12:00", "2024-02-29T12:00"),
        ("2024-02-29T00:00", "2023-01-29T00:00"),
        ("2026-01-01T00:00", "2024-12-01T00:00"),
    ],
)
def test_months_before_ends_at_the_last_day_of_a_shorter_month(time: str, earlier: str) -> None:
    assert months_before(parse_time(time), 13) == parse_time(earlier)
