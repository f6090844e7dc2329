"""The settings as JSON Schema: their names, types, limits, defaults and descriptions, and the values that they take.

This module is data. `validation` checks a configuration against it, and `settings` turns the result into types. The
titles and descriptions appear in `--about`, `meltano.yml`, the hub definition, the README and the documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from singer_sdk import typing as th

if TYPE_CHECKING:
    from collections.abc import Mapping

ENVIRONMENT_PREFIX = "TAP_VONAGE_REPORTS_"

AUTO, SYNC, ASYNC = "auto", "sync", "async"
FETCH_MODES = (AUTO, SYNC, ASYNC)
BY_WINDOW, BY_ID = "window", "ids"
KEEP, HASH, DROP = "keep", "hash", "drop"

DIRECTION = "direction"
"""The request parameter that selects inbound or outbound rows. Users set it as a filter."""
BOOLEAN_PARAMS = ("include_message", "show_concatenated")
"""The request parameters that are settings of their own, not filters."""

MAX_HOURS = 10_000
"""More than Vonage keeps records: 13 months are about 9,500 hours."""
MAX_DAYS = 10_000
"""About 27 years. Keeps calculated dates within what `datetime` can hold."""

COMPRESSIONS: Mapping[str, tuple[str, ...]] = {
    "parquet": ("snappy", "zstd", "gzip", "brotli", "lz4", "none"),
    "jsonl": ("gzip", "none"),
}
"""The compressions of each BATCH file format. The first, which every reader supports, is the default."""

_STREAM_OPTIONS = th.ObjectType(
    th.Property("lookback_hours", th.NumberType(minimum=0, maximum=MAX_HOURS)),
    th.Property("fetch_mode", th.StringType(allowed_values=FETCH_MODES)),
    th.Property("filters", th.ObjectType(additional_properties=th.StringType)),
    additional_properties=False,
)

# The SDK's own schema has fewer compressions, and neither params nor batch_size.
_BATCH_CONFIG = th.ObjectType(
    th.Property(
        "encoding",
        th.ObjectType(
            th.Property("format", th.StringType(allowed_values=list(COMPRESSIONS)), required=True),
            th.Property(
                "compression",
                th.StringType(allowed_values=sorted({name for names in COMPRESSIONS.values() for name in names})),
            ),
            additional_properties=False,
        ),
        required=True,
    ),
    th.Property(
        "storage",
        th.ObjectType(
            th.Property("root", th.StringType(min_length=1), required=True),
            th.Property("prefix", th.StringType),
            th.Property("params", th.ObjectType()),
            additional_properties=False,
        ),
        required=True,
    ),
    th.Property("batch_size", th.IntegerType(minimum=1)),
    additional_properties=False,
)

CONFIG_JSONSCHEMA: dict[str, Any] = th.PropertiesList(
    th.Property(
        "api_key",
        th.StringType(min_length=1),
        required=True,
        secret=True,
        title="API key",
        description="API key of the primary account.",
    ),
    th.Property(
        "api_secret",
        th.StringType(min_length=1),
        required=True,
        secret=True,
        title="API secret",
        description="API secret of the primary account.",
    ),
    th.Property(
        "account_ids",
        th.ArrayType(th.StringType(min_length=1)),
        title="Accounts",
        description="Accounts to report on: the primary one or its sub-accounts. Default: the account of api_key.",
    ),
    th.Property(
        "include_subaccounts",
        th.BooleanType,
        default=False,
        title="Include sub-accounts",
        description="Also report on every sub-account, listed through the Subaccounts API at the start of a run.",
    ),
    th.Property(
        "start_date",
        th.DateTimeType,
        title="Start date",
        description=(
            "From when to read. Default: 7 days ago. Earlier than Vonage keeps records "
            "(13 months; Video 90 days) is cut to that, with a warning."
        ),
    ),
    th.Property(
        "end_date",
        th.DateTimeType,
        title="End date",
        description="Until when to read, exclusive. Default: now, less the minute that the API wants to be behind.",
    ),
    th.Property(
        "lookback_hours",
        th.NumberType(minimum=0, maximum=MAX_HOURS),
        title="Look-back (hours)",
        description=(
            "How far before the bookmark to read again, for rows that arrive late or change. "
            "Default: per product, see the table of streams. Rows read again are billed again."
        ),
    ),
    th.Property(
        "status_refresh",
        th.StringType(allowed_values=(BY_WINDOW, BY_ID)),
        default=BY_WINDOW,
        title="Status refresh",
        description=(
            "How rows that change are kept up to date: by reading the whole look-back again (window), or, for SMS and "
            "MESSAGES, by looking up those that are not final yet (ids), which pulls far fewer rows."
        ),
    ),
    th.Property(
        "late_rows_hours",
        th.NumberType(minimum=0, maximum=MAX_HOURS),
        default=1,
        title="Late rows (hours)",
        description=(
            "With status_refresh ids: how late rows may be listed. So much before the bookmark is read again in any "
            "case."
        ),
    ),
    th.Property(
        "include_message",
        th.BooleanType,
        default=False,
        title="Include message bodies",
        description="Also read the text of messages (SMS, MESSAGES).",
    ),
    th.Property(
        "show_concatenated",
        th.BooleanType,
        default=False,
        title="Show concatenated",
        description="Also read the column concatenated (SMS, outbound).",
    ),
    th.Property(
        "fetch_mode",
        th.StringType(allowed_values=FETCH_MODES),
        default="auto",
        title="Fetch mode",
        description="How to read: by pages (sync), by asynchronous reports (async), or by whichever is better (auto).",
    ),
    th.Property(
        "backfill_days",
        th.IntegerType(minimum=1, maximum=MAX_DAYS),
        default=7,
        title="Backfill days",
        description="In auto, a range longer than this is read by async reports, up to a day before its end.",
    ),
    th.Property(
        "sync_window_hours",
        th.NumberType(exclusive_minimum=0, maximum=24),
        default=24,
        title="Sync window (hours)",
        description="Longest window of one synchronous query, at most 24.",
    ),
    th.Property(
        "report_window_days",
        th.IntegerType(minimum=1, maximum=MAX_DAYS),
        default=31,
        title="Report window (days)",
        description="Longest window of an async report.",
    ),
    th.Property(
        "max_requests_per_second",
        th.IntegerType(minimum=1, maximum=1_000),
        default=10,
        title="Requests per second",
        description=(
            "How many synchronous queries are sent in a second, at most. Vonage takes 10; "
            "set less where other programs use the same API key."
        ),
    ),
    th.Property(
        "max_concurrent_requests",
        th.IntegerType(minimum=1, maximum=1_000),
        default=5,
        title="Concurrent requests",
        description="How many windows are read at once, at most.",
    ),
    th.Property(
        "max_concurrent_reports",
        th.IntegerType(minimum=1, maximum=1_000),
        default=5,
        title="Concurrent reports",
        description="How many async reports are in flight at once, over all streams.",
    ),
    th.Property(
        "report_timeout_minutes",
        th.IntegerType(minimum=1, maximum=100_000),
        default=180,
        title="Report timeout (minutes)",
        description="How long one async report may take to be generated.",
    ),
    th.Property(
        "request_timeout_seconds",
        th.IntegerType(minimum=1, maximum=100_000),
        default=60,
        title="Request timeout (seconds)",
        description="How long to wait for a connection, and for each part of an answer.",
    ),
    th.Property(
        "personal_data",
        th.StringType(allowed_values=[KEEP, HASH, DROP]),
        default=KEEP,
        title="Personal data",
        description=(
            "What becomes of personal data in records: keep them, hash them (salted SHA-256), or drop their columns."
        ),
    ),
    th.Property(
        "personal_data_salt",
        th.StringType(min_length=1),
        secret=True,
        title="Salt for personal data",
        description="Secret that is hashed with each value; needed to hash. The same salt gives the same hashes.",
    ),
    th.Property(
        "stream_options",
        th.ObjectType(additional_properties=_STREAM_OPTIONS),
        title="Options by stream",
        description=(
            "For each stream, by its name: lookback_hours, fetch_mode, and filters "
            "(only those that the API takes for the product, see the table of streams)."
        ),
    ),
    th.Property(
        "batch_config",
        _BATCH_CONFIG,
        title="Batch files",
        description=(
            "Write rows to files and BATCH messages instead of RECORD messages: encoding (format parquet or jsonl, "
            "and compression), storage (root: a folder or an fsspec address; prefix; params), and batch_size, the rows "
            "of a file. The files are the target's to remove."
        ),
    ),
    th.Property(
        "api_url",
        th.StringType(min_length=1),
        default="https://api.nexmo.com",
        title="API address",
        description="Base address of the API. Plain http only to this machine.",
    ),
    additional_properties=False,
).to_dict()
