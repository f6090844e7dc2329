"""The settings: what they are called and mean, and the checked, typed form that the rest of the tap uses."""

from __future__ import annotations

import ipaddress
import json
import math
import unicodedata
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import jsonschema
from singer_sdk import typing as th

from tap_vonage_reports.errors import SettingsError
from tap_vonage_reports.products import BOTH_DIRECTIONS, PRODUCTS, Product
from tap_vonage_reports.redaction import DROP, HASH, KEEP
from tap_vonage_reports.timestamps import parse_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FETCH_MODES = ("auto", "sync", "async")
BY_WINDOW, BY_ID = "window", "ids"
MAX_HOURS = 10_000
"""More than Vonage keeps records (13 months are 9,500 hours)."""
MAX_DAYS = 10_000
ENVIRONMENT_PREFIX = "TAP_VONAGE_REPORTS_"
BOOLEAN_PARAMS = ("include_message", "show_concatenated")
DIRECTION = "direction"

COMPRESSIONS: Mapping[str, tuple[str, ...]] = {
    "parquet": ("snappy", "zstd", "gzip", "brotli", "lz4", "none"),
    "jsonl": ("gzip", "none"),
}
"""The compressions of each format of batch files. Where none is set it is the first, which every reader knows."""

_BOOLEANS = dict.fromkeys(("true", "1", "yes", "on"), True) | dict.fromkeys(("false", "0", "no", "off"), False)
_STREAM_OPTIONS = th.ObjectType(
    th.Property("lookback_hours", th.NumberType(minimum=0, maximum=MAX_HOURS)),
    th.Property("fetch_mode", th.StringType(allowed_values=FETCH_MODES)),
    th.Property("filters", th.ObjectType(additional_properties=th.StringType)),
    additional_properties=False,
)

# The SDK's own knows fewer compressions, and neither params nor batch_size.
_BATCH_CONFIG = th.ObjectType(
    th.Property(
        "encoding",
        th.ObjectType(
            th.Property("format", th.StringType(allowed_values=list(COMPRESSIONS)), required=True),
            th.Property(
                "compression",
                th.StringType(allowed_values=sorted({name for some in COMPRESSIONS.values() for name in some})),
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


@dataclass(frozen=True)
class StreamOptions:
    """What the user said about one stream.

    Attributes:
        lookback: How far to look back; None: the general setting, or the product's own.
        fetch_mode: How to read; None: the general setting.
        directions: The directions to read, where a filter names one; None: all of the product.
        filters: Query parameters that narrow what is read.
    """

    lookback: timedelta | None = None
    fetch_mode: str | None = None
    directions: tuple[str, ...] | None = None
    filters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """The settings, checked. Times are aware and in UTC."""

    api_key: str
    api_secret: str
    account_ids: tuple[str, ...]
    include_subaccounts: bool
    start_date: datetime | None
    end_date: datetime | None
    lookback: timedelta | None
    status_refresh: str
    late_rows: timedelta
    include_message: bool
    show_concatenated: bool
    fetch_mode: str
    backfill: timedelta
    sync_window: timedelta
    report_window: timedelta
    max_concurrent_requests: int
    max_concurrent_reports: int
    report_timeout: timedelta
    max_requests_per_second: int
    request_timeout_seconds: float
    personal_data: str
    personal_data_salt: str
    api_url: str
    stream_options: Mapping[str, StreamOptions]

    @classmethod
    def from_config(cls, config: Mapping[str, Any], jsonschema_: Mapping[str, Any]) -> Settings:
        """Check a configuration and make it typed.

        Args:
            config: The configuration as given.
            jsonschema_: What it has to fit: `CONFIG_JSONSCHEMA` and what the SDK adds to it.

        Raises:
            SettingsError: With every problem found, none of which repeats a value.
        """
        problems = list(_shape_problems(config, jsonschema_))
        if problems:
            raise SettingsError(problems)
        values = {name: spec["default"] for name, spec in jsonschema_["properties"].items() if "default" in spec}
        values |= {name: value for name, value in config.items() if value is not None}
        problems = list(_meaning_problems(values))
        if problems:
            raise SettingsError(problems)
        hours = values.get("lookback_hours")
        return cls(
            api_key=values["api_key"],
            api_secret=values["api_secret"],
            account_ids=tuple(values.get("account_ids") or [values["api_key"]]),
            include_subaccounts=values["include_subaccounts"],
            start_date=_date(values.get("start_date")),
            end_date=_date(values.get("end_date")),
            lookback=None if hours is None else timedelta(hours=float(hours)),
            status_refresh=values["status_refresh"],
            late_rows=timedelta(hours=float(values["late_rows_hours"])),
            include_message=values["include_message"],
            show_concatenated=values["show_concatenated"],
            fetch_mode=values["fetch_mode"],
            backfill=timedelta(days=values["backfill_days"]),
            report_window=timedelta(days=values["report_window_days"]),
            max_concurrent_requests=values["max_concurrent_requests"],
            max_concurrent_reports=values["max_concurrent_reports"],
            report_timeout=timedelta(minutes=values["report_timeout_minutes"]),
            sync_window=timedelta(hours=float(values["sync_window_hours"])),
            max_requests_per_second=values["max_requests_per_second"],
            request_timeout_seconds=values["request_timeout_seconds"],
            personal_data=values["personal_data"],
            personal_data_salt=values.get("personal_data_salt", ""),
            api_url=values["api_url"],
            stream_options={name: _options(given) for name, given in values.get("stream_options", {}).items()},
        )

    def options(self, product: Product) -> StreamOptions:
        """What the user said about a product's stream."""
        return self.stream_options.get(product.stream, StreamOptions())

    def lookback_of(self, product: Product) -> timedelta:
        """How far to look back: the stream's option, else the setting, else the product's own."""
        for said in (self.options(product).lookback, self.lookback):
            if said is not None:
                return said
        return timedelta(hours=product.lookback_hours)

    def refreshes_by_id(self, product: Product) -> bool:
        """Whether rows that change are looked up by their ids.

        A query by id takes no filters [confirmed], and which rows a filter lets through may change with their status.
        """
        return self.status_refresh == BY_ID and not self.options(product).filters

    def mode_of(self, product: Product) -> str:
        """How to read a product: ``auto``, ``sync`` or ``async``.

        A filter that reports do not take makes ``auto`` read by pages.
        """
        options = self.options(product)
        mode = options.fetch_mode or self.fetch_mode
        if mode == "auto" and not set(options.filters) <= set(product.async_filters):
            return "sync"
        return mode

    def directions_of(self, product: Product) -> tuple[str, ...]:
        """The directions to ask for one by one; empty where the API takes none."""
        chosen = self.options(product).directions
        return product.directions if chosen is None else chosen

    def query_of(self, product: Product, direction: str | None) -> dict[str, str]:
        """The parameters that go with every request of a partition, account and dates apart.

        Booleans travel as ``true`` [confirmed]; a switch that is off is not sent, nor one whose column is left out.
        """
        query = {"product": product.name, **self.options(product).filters}
        if direction:
            query[DIRECTION] = direction
        if self.include_message and product.include_message and self.personal_data != DROP:
            query["include_message"] = "true"
        if self.show_concatenated and direction in product.concatenated_directions:
            query["show_concatenated"] = "true"
        return query

    def rows_of(self, product: Product) -> str:
        """Fingerprint of what decides which rows a stream has; empty without filters."""
        filters = self.options(product).filters
        return fingerprint(filters) if filters else ""


def from_environment(environ: Mapping[str, str], jsonschema_: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that stand in variables ``TAP_VONAGE_REPORTS_<NAME>``; an empty variable is none.

    Lists and objects are JSON; a list may also be words with commas between them.

    Raises:
        SettingsError: A variable does not hold what its setting takes.
    """
    config: dict[str, Any] = {}
    problems = []
    for name, spec in jsonschema_["properties"].items():
        variable = ENVIRONMENT_PREFIX + name.upper()
        text = environ.get(variable, "")
        if not text:
            continue
        try:
            config[name] = _from_text(text, spec)
        except (ValueError, KeyError):
            problems.append(
                f"The variable {variable} does not hold what the setting takes: {' or '.join(_kinds(spec))}."
            )
    if problems:
        raise SettingsError(problems)
    return config


def fingerprint(query: Mapping[str, str]) -> str:
    """A short name for a query by its parameters, so that state need not hold their values."""
    return sha256(json.dumps(query, sort_keys=True).encode()).hexdigest()[:16]


def _kinds(spec: Mapping[str, Any]) -> list[str]:
    kinds = spec.get("type", [])
    return [kind for kind in ([kinds] if isinstance(kinds, str) else kinds) if kind != "null"]


def _from_text(text: str, spec: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON
    kinds = _kinds(spec)
    if "string" in kinds:
        return text
    if "boolean" in kinds:
        return _BOOLEANS[text.lower()]
    if "array" in kinds and not text.lstrip().startswith("["):
        return [word.strip() for word in text.split(",")]
    return json.loads(text)


def _shape_problems(config: Mapping[str, Any], jsonschema_: Mapping[str, Any]) -> Iterator[str]:
    """What does not fit the JSON Schema, in words of our own: the library's repeat the value."""
    validator = jsonschema.Draft7Validator(jsonschema_)
    for error in validator.iter_errors({name: value for name, value in config.items() if value is not None}):
        path = [str(part) for part in error.absolute_path]
        where = ".".join(path) or "The configuration"
        if error.validator == "required":
            # One error comes for each name, and does not say which: all are told with the first.
            missing = [name for name in error.validator_value if name not in error.instance]
            for name in missing if error.message.startswith(repr(missing[0])) else []:
                or_variable = "" if path else f", or the variable {ENVIRONMENT_PREFIX}{name.upper()}"
                yield f"The setting {'.'.join([*path, name])} is missing. Set it{or_variable}."
        elif error.validator == "additionalProperties":
            known = error.schema.get("properties", {})
            for name in sorted(set(error.instance) - set(known)):
                yield _unknown(".".join([*path, name]), known)
        else:
            yield f"The setting {where} {_EXPECTED.get(error.validator, _fits)(error.validator_value)}."


def _fits(_value: object) -> str:
    return "is not what it should be; see --about"


_EXPECTED: Mapping[Any, Any] = {
    "type": lambda kinds: (
        f"must be of type {kinds if isinstance(kinds, str) else ' or '.join(k for k in kinds if k != 'null')}"
    ),
    "enum": lambda allowed: f"must be one of {', '.join(map(str, allowed))}",
    "minLength": lambda _least: "must not be empty",
    "minimum": lambda least: f"must be at least {least}",
    "exclusiveMinimum": lambda least: f"must be more than {least}",
    "maximum": lambda most: f"must be at most {most}",
}


def _unknown(name: str, known: Mapping[str, object]) -> str:
    return f"The setting {name} is unknown. Known: {', '.join(sorted(known))}."


def _meaning_problems(values: Mapping[str, Any]) -> Iterator[str]:
    """What fits the JSON Schema and still makes no sense, or is not there yet."""
    accounts = values.get("account_ids") or []
    if len(set(accounts)) < len(accounts):
        yield "The setting account_ids names an account twice. Name each once."
    for name in ("api_key", "api_secret"):
        if not values[name].strip():
            yield f"The setting {name} must not be empty."
    if ":" in values["api_key"]:
        yield "The setting api_key must not hold a colon: HTTP Basic authentication cannot carry one."
    yield from _number_problems(values)
    yield from _character_problems(values)
    yield from _date_problems(values)
    yield from _url_problems(values["api_url"])
    yield from _batch_problems(values)
    if values["personal_data"] == HASH and not values.get("personal_data_salt", "").strip():
        yield (
            "The setting personal_data_salt is missing, and without it hashes of numbers can be guessed. "
            "Set it to a long random text, and keep it: another salt gives other hashes."
        )
    for stream, options in values.get("stream_options", {}).items():
        if stream not in PRODUCTS:
            yield f"stream_options names the unknown stream {stream}. Known: {', '.join(PRODUCTS)}."
        else:
            mode = options.get("fetch_mode") or values["fetch_mode"]
            yield from _filter_problems(PRODUCTS[stream], options.get("filters", {}), mode)


def _character_problems(values: Mapping[str, Any]) -> Iterator[str]:
    """Characters that no request can carry: control characters, and what bytes become that are not UTF-8."""
    texts = {name: [values[name]] for name in ("api_key", "api_secret", "api_url")}
    texts["account_ids"] = values.get("account_ids") or []
    for stream, options in values.get("stream_options", {}).items():
        texts[f"stream_options.{stream}.filters"] = list((options.get("filters") or {}).values())
    for name, some in texts.items():
        if any(unicodedata.category(character) in ("Cc", "Cs") for text in some for character in text):
            yield (
                f"The setting {name} holds a control character, such as a line break, or bytes that are not UTF-8. "
                "Remove it."
            )


def _number_problems(values: Mapping[str, Any]) -> Iterator[str]:
    """Numbers that are none: Python's JSON has a NaN, which fits every bound."""
    numbers = {name: value for name, value in values.items() if isinstance(value, float)}
    for stream, options in values.get("stream_options", {}).items():
        numbers[f"stream_options.{stream}.lookback_hours"] = options.get("lookback_hours") or 0
    for name, number in numbers.items():
        if math.isnan(number):
            yield f"The setting {name} must be a number."


def _date_problems(values: Mapping[str, Any]) -> Iterator[str]:
    dates = {}
    for name in ("start_date", "end_date"):
        try:
            dates[name] = _date(values.get(name))
        except ValueError:
            yield f"The setting {name} is not an ISO 8601 date or time, such as 2026-10-01 or 2026-10-01T00:00:00Z."
    start, end = dates.get("start_date"), dates.get("end_date")
    if start and end and start > end:
        yield "The setting start_date is after end_date. Swap them, or leave end_date out to read until now."


def _url_problems(url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        yield "The setting api_url must be an address such as https://api.nexmo.com."
    elif set("@?#\\") & set(url):
        yield "The setting api_url must hold nothing but scheme, host, port and path: no credentials, no parameters."
    elif parts.scheme == "http" and not _is_loopback(host):
        yield "The setting api_url uses plain http, which would send the secret unencrypted. Use https."


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _batch_problems(values: Mapping[str, Any]) -> Iterator[str]:
    if not (config := values.get("batch_config")):
        return
    kind, compression = config["encoding"]["format"], config["encoding"].get("compression")
    if compression and compression not in COMPRESSIONS[kind]:
        known = ", ".join(COMPRESSIONS[kind])
        yield f"The setting batch_config.encoding.compression must be one of {known} for {kind}."
    for name in ("stream_maps", "flattening_enabled"):
        if values.get(name):
            yield f"The settings batch_config and {name} exclude each other: files hold what the tap reads. Remove one."


def _filter_problems(product: Product, filters: Mapping[str, str], mode: str) -> Iterator[str]:
    # In auto, the newest time is always read by pages, so that a filter has to be one that pages take.
    taken = product.async_filters if mode == "async" else product.sync_filters
    known = [*taken, *([DIRECTION] if product.directions else [])]
    for name in sorted(set(filters) - set(known)):
        if name in BOOLEAN_PARAMS:
            yield f"{name} is a setting of its own, not a filter. Set {name} instead."
        else:
            known_here = f"The API takes {', '.join(known)}" if known else "The API takes none"
            yield f"stream_options.{product.stream}.filters names {name}. {known_here} for this product in mode {mode}."
    for name, value in filters.items():
        if name in known and not value:
            yield f"The filter {name} of stream {product.stream} must not be empty."
    if DIRECTION in known and filters.get(DIRECTION) not in (None, "", *BOTH_DIRECTIONS):
        yield f"The filter direction of stream {product.stream} must be inbound or outbound."


def _date(text: str | None) -> datetime | None:
    return parse_time(text) if text is not None else None


def _options(given: Mapping[str, Any]) -> StreamOptions:
    filters = dict(given.get("filters") or {})
    direction = filters.pop(DIRECTION, None)
    hours = given.get("lookback_hours")
    return StreamOptions(
        lookback=None if hours is None else timedelta(hours=float(hours)),
        fetch_mode=given.get("fetch_mode"),
        directions=(direction,) if direction else None,
        filters=filters,
    )
