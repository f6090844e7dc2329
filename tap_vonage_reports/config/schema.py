"""JSON Schema of the settings: their names, types, limits, defaults and descriptions.

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
NO_SUBACCOUNTS, EACH, TOGETHER = "none", "each", "together"
SUBACCOUNTS = (NO_SUBACCOUNTS, EACH, TOGETHER)
NUMBER, OBJECT, TEXT = "number", "object", "text"
FLAT, BY_STREAM, BY_STREAM_AND_DATE = "flat", "stream", "stream/date"

DIRECTION = "direction"
"""The request parameter that selects inbound or outbound rows. Users set it as a filter."""
BOOLEAN_PARAMS = ("include_message", "show_concatenated")
"""The request parameters that are settings of their own, not filters."""
INCLUDE_SUBACCOUNTS = "include_subaccounts"
"""The parameter of a report that adds the rows of all sub-accounts [confirmed], and a setting (see `subaccounts`)."""

CALLBACK_URL = "report_callback_url"
"""The setting that is a secret and a URL."""

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
        title="Account IDs",
        description=(
            "IDs of the accounts to sync: the primary account, sub-accounts, or both. Default: the primary account."
        ),
    ),
    th.Property(
        "subaccounts",
        th.StringType(allowed_values=SUBACCOUNTS),
        title="Sub-accounts",
        description=(
            "How to sync the sub-accounts, which the Subaccounts API lists at the start of each run: not at all "
            "(none), each with its own requests (each), or all of them with the primary account in the same "
            "asynchronous reports (together), which suits hundreds of small accounts. Default: none."
        ),
    ),
    th.Property(
        INCLUDE_SUBACCOUNTS,
        th.BooleanType,
        title="Include sub-accounts",
        description="The older form of subaccounts: true means each, false means none.",
    ),
    th.Property(
        "start_date",
        th.DateTimeType,
        title="Start date",
        description=(
            "Start of the time range to sync. Default: 7 days ago. A date before Vonage's retention limit "
            "(13 months; Video: 90 days) is moved to that limit, with a warning."
        ),
    ),
    th.Property(
        "end_date",
        th.DateTimeType,
        title="End date",
        description=(
            "End of the time range to sync, exclusive. Default: 60 seconds ago, because the API rejects times "
            "that are not in the past."
        ),
    ),
    th.Property(
        "lookback_hours",
        th.NumberType(minimum=0, maximum=MAX_HOURS),
        title="Lookback (hours)",
        description=(
            "Lookback window: how far before the bookmark to refetch, to pick up late and updated rows. "
            "Refetched rows are billed again. The default depends on the product, such as 72 for SMS: see the page of "
            "each stream."
        ),
    ),
    th.Property(
        "status_refresh",
        th.StringType(allowed_values=(BY_WINDOW, BY_ID)),
        default=BY_WINDOW,
        title="Status refresh",
        description=(
            "How to pick up status changes: refetch the whole lookback window (window), or, for SMS and MESSAGES, "
            "look up only the non-final rows by ID (ids), which refetches far fewer rows."
        ),
    ),
    th.Property(
        "late_rows_hours",
        th.NumberType(minimum=0, maximum=MAX_HOURS),
        default=1,
        title="Late rows (hours)",
        description=(
            "With status_refresh ids: how long after a row's own time the API may list it. The tap always refetches "
            "this much time before the bookmark."
        ),
    ),
    th.Property(
        "include_message",
        th.BooleanType,
        default=False,
        title="Include message bodies",
        description="Include the text of messages (SMS and MESSAGES).",
    ),
    th.Property(
        "show_concatenated",
        th.BooleanType,
        default=False,
        title="Show concatenated",
        description="Include the column concatenated in outbound SMS rows.",
    ),
    th.Property(
        "fetch_mode",
        th.StringType(allowed_values=FETCH_MODES),
        default=AUTO,
        title="Fetch mode",
        description=(
            "How to fetch rows: page by page (sync), by asynchronous reports (async), or by whichever suits the time "
            "range (auto)."
        ),
    ),
    th.Property(
        "backfill_days",
        th.IntegerType(minimum=1, maximum=MAX_DAYS),
        default=7,
        title="Backfill threshold (days)",
        description=(
            "With fetch_mode auto: the tap fetches a time range longer than this by asynchronous reports, except for "
            "its last day."
        ),
    ),
    th.Property(
        "sync_window_hours",
        th.NumberType(exclusive_minimum=0, maximum=24),
        default=24,
        title="Sync window (hours)",
        description="Maximum time window of one synchronous request. Vonage's documented limit is 24 hours.",
    ),
    th.Property(
        "report_window_days",
        th.IntegerType(minimum=1, maximum=MAX_DAYS),
        default=31,
        title="Report window (days)",
        description="Maximum time window of one asynchronous report.",
    ),
    th.Property(
        "max_requests_per_second",
        th.NumberType(exclusive_minimum=0, maximum=1_000),
        default=10,
        title="Requests per second",
        description=(
            "Maximum number of synchronous requests per second, which may be a fraction. Vonage allows 10. Set it "
            "lower if other programs use the same API key."
        ),
    ),
    th.Property(
        "max_report_requests_per_second",
        th.NumberType(exclusive_minimum=0, maximum=1_000),
        default=5,
        title="Report requests per second",
        description=(
            "Maximum number of all other requests per second, which may be a fraction: those that request, poll or "
            "download reports. Vonage allows 5. Set it lower if other programs use the same API key."
        ),
    ),
    th.Property(
        "max_concurrent_requests",
        th.IntegerType(minimum=1, maximum=1_000),
        default=5,
        title="Concurrent requests",
        description="Maximum number of time windows fetched concurrently.",
    ),
    th.Property(
        "max_concurrent_reports",
        th.IntegerType(minimum=1, maximum=1_000),
        default=5,
        title="Concurrent reports",
        description="Maximum number of asynchronous reports in flight, across all streams.",
    ),
    th.Property(
        "adopt_reports",
        th.BooleanType,
        default=True,
        title="Adopt reports",
        description=(
            "Find reports that an earlier run requested but whose IDs were lost, and read them instead of paying for "
            "them again. Costs one request per account that needs reports."
        ),
    ),
    th.Property(
        "report_timeout_minutes",
        th.IntegerType(minimum=1, maximum=100_000),
        default=180,
        title="Report timeout (minutes)",
        description="How long to wait for Vonage to generate one asynchronous report.",
    ),
    th.Property(
        "wait_for_reports",
        th.BooleanType,
        default=True,
        title="Wait for reports",
        description=(
            "Wait until Vonage has generated the reports. If false, a partition ends at its first report that is not "
            "ready, and a later run reads it. For orchestrators that start a run when a report is ready."
        ),
    ),
    th.Property(
        CALLBACK_URL,
        th.StringType(min_length=1),
        secret=True,
        title="Report callback URL",
        description=(
            "URL that Vonage calls when a report is ready, so that an orchestrator can start a run. It is sent with "
            "each request for a report. The tap itself polls in any case. Plain HTTP is allowed only to the local "
            "machine."
        ),
    ),
    th.Property(
        "request_timeout_seconds",
        th.IntegerType(minimum=1, maximum=100_000),
        default=60,
        title="Request timeout (seconds)",
        description=(
            "How long to wait for a connection, and for each part of a response. A whole response may take five times "
            "as long, plus one second per 64 KB."
        ),
    ),
    th.Property(
        "personal_data",
        th.StringType(allowed_values=[KEEP, HASH, DROP]),
        default=KEEP,
        title="Personal data",
        description="How to treat personal data: keep it, hash it (salted SHA-256), or drop its columns.",
    ),
    th.Property(
        "personal_data_salt",
        th.StringType(min_length=1),
        secret=True,
        title="Salt for personal data",
        description=(
            "Secret that is hashed together with each value, of at least 16 characters. Required with personal_data "
            "hash. Keep it: a different salt changes all hashes."
        ),
    ),
    th.Property(
        "decimals",
        th.StringType(allowed_values=[NUMBER, TEXT]),
        default=NUMBER,
        title="Decimals",
        description=(
            "How to write money: as JSON numbers (number), or as text with the format x-singer.decimal (text), for "
            "loaders that store JSON numbers as floats. Parquet files have exact decimals in either case."
        ),
    ),
    th.Property(
        "objects",
        th.StringType(allowed_values=[OBJECT, TEXT]),
        default=OBJECT,
        title="Objects",
        description=(
            "How to write the columns _extra and request_params: as JSON objects (object), or as JSON text (text), for "
            "loaders that cannot store objects. Parquet files have JSON text in either case."
        ),
    ),
    th.Property(
        "stream_options",
        th.ObjectType(additional_properties=_STREAM_OPTIONS),
        title="Stream options",
        description=(
            "Options for individual streams, by stream name: lookback_hours, fetch_mode and filters "
            "(those that the API accepts for the product; the page of each stream lists them)."
        ),
    ),
    th.Property(
        "batch_config",
        _BATCH_CONFIG,
        title="BATCH files",
        description=(
            "Write rows to files and BATCH messages instead of RECORD messages. Takes encoding (format parquet or "
            "jsonl; compression), storage (root: a folder or an fsspec URL; prefix; params) and batch_size (rows per "
            "file). The target has to remove the files."
        ),
    ),
    th.Property(
        "batch_layout",
        th.StringType(allowed_values=[FLAT, BY_STREAM, BY_STREAM_AND_DATE]),
        default=BY_STREAM,
        title="Layout of BATCH files",
        description=(
            "Folders of the BATCH files: all in one (flat), one per stream, which engines read as a table (stream), or "
            "one per stream and day on which the run read the rows, such as sms/read_date=2026-11-28 (stream/date)."
        ),
    ),
    th.Property(
        "api_url",
        th.StringType(min_length=1),
        default="https://api.nexmo.com",
        title="API URL",
        description="Base URL of the API. Plain HTTP is allowed only to the local machine.",
    ),
    additional_properties=False,
).to_dict()
