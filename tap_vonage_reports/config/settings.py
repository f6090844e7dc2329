"""The settings in the checked, typed form that the rest of the tap uses."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from tap_vonage_reports.config.schema import (
    ASYNC,
    AUTO,
    BY_ID,
    CALLBACK_URL,
    DIRECTION,
    DROP,
    EACH,
    INCLUDE_SUBACCOUNTS,
    NO_SUBACCOUNTS,
    SYNC,
    TOGETHER,
)
from tap_vonage_reports.config.validation import validate
from tap_vonage_reports.timestamps import parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tap_vonage_reports.products import Product


@dataclass(frozen=True)
class StreamOptions:
    """The options of one stream, from the setting `stream_options`.

    Attributes:
        lookback: Length of the lookback window. None: the setting `lookback_hours`, or the product's default.
        fetch_mode: ``auto``, ``sync`` or ``async``. None: the setting `fetch_mode`.
        directions: The directions to sync, from the filter `direction`. None: all directions of the product.
        filters: The other filters: request parameters by name.
    """

    lookback: timedelta | None = None
    fetch_mode: str | None = None
    directions: tuple[str, ...] | None = None
    filters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """The settings of a run, checked and with defaults filled in. Times are aware and in UTC."""

    api_key: str
    api_secret: str
    account_ids: tuple[str, ...]
    subaccounts: str
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
    adopt_reports: bool
    report_timeout: timedelta
    wait_for_reports: bool
    report_callback_url: str
    max_requests_per_second: float
    max_report_requests_per_second: float
    request_timeout_seconds: float
    personal_data: str
    personal_data_salt: str
    batch_layout: str
    api_url: str
    stream_options: Mapping[str, StreamOptions]

    @classmethod
    def from_config(cls, config: Mapping[str, Any], jsonschema_: Mapping[str, Any]) -> Settings:
        """Check a configuration and return it as settings.

        Args:
            config: The configuration as given.
            jsonschema_: The schema: `CONFIG_JSONSCHEMA` with the SDK's additions.

        Raises:
            SettingsError: With every problem found. No problem repeats a value.
        """
        values = validate(config, jsonschema_)
        return cls(
            api_key=values["api_key"],
            api_secret=values["api_secret"],
            account_ids=tuple(values.get("account_ids") or [values["api_key"]]),
            subaccounts=subaccounts_of(values),
            start_date=_time(values.get("start_date")),
            end_date=_time(values.get("end_date")),
            lookback=_hours(values.get("lookback_hours")),
            status_refresh=values["status_refresh"],
            late_rows=timedelta(hours=float(values["late_rows_hours"])),
            include_message=values["include_message"],
            show_concatenated=values["show_concatenated"],
            fetch_mode=values["fetch_mode"],
            backfill=timedelta(days=values["backfill_days"]),
            report_window=timedelta(days=values["report_window_days"]),
            max_concurrent_requests=values["max_concurrent_requests"],
            max_concurrent_reports=values["max_concurrent_reports"],
            adopt_reports=values["adopt_reports"],
            report_timeout=timedelta(minutes=values["report_timeout_minutes"]),
            wait_for_reports=values["wait_for_reports"],
            report_callback_url=values.get(CALLBACK_URL, ""),
            sync_window=timedelta(hours=float(values["sync_window_hours"])),
            max_requests_per_second=float(values["max_requests_per_second"]),
            max_report_requests_per_second=float(values["max_report_requests_per_second"]),
            request_timeout_seconds=values["request_timeout_seconds"],
            personal_data=values["personal_data"],
            personal_data_salt=values.get("personal_data_salt", ""),
            batch_layout=values["batch_layout"],
            api_url=values["api_url"],
            stream_options={name: _stream_options(given) for name, given in values.get("stream_options", {}).items()},
        )

    @property
    def lists_subaccounts(self) -> bool:
        """True if a run reads the sub-accounts, and so has to list them."""
        return self.subaccounts != NO_SUBACCOUNTS

    @property
    def reads_together(self) -> bool:
        """True if the reports of the primary account include all sub-accounts."""
        return self.subaccounts == TOGETHER

    def options(self, product: Product) -> StreamOptions:
        """Return the options of a product's stream."""
        return self.stream_options.get(product.stream, StreamOptions())

    def lookback_of(self, product: Product) -> timedelta:
        """Return the lookback of a product: the stream's option, else the setting, else the product's default."""
        for lookback in (self.options(product).lookback, self.lookback):
            if lookback is not None:
                return lookback
        return timedelta(hours=product.lookback_hours)

    def refreshes_by_id(self, product: Product) -> bool:
        """Return True if non-final rows of a product are fetched by ID instead of with the lookback window.

        Never with filters: a query by ID takes none [confirmed], and a new status may change whether a row matches.
        """
        return self.status_refresh == BY_ID and not self.options(product).filters

    def mode_of(self, product: Product) -> str:
        """Return the fetch mode of a product: ``auto``, ``sync`` or ``async``.

        Filters that one path does not accept leave the other. With `subaccounts: together`, mode ``auto`` may come with
        filters that only reports accept, and accounts that catch up are read alone.
        """
        options = self.options(product)
        mode = options.fetch_mode or self.fetch_mode
        if self.report_filters_of(product):
            return ASYNC
        if mode == AUTO and not set(options.filters) <= set(product.async_filters):
            return SYNC
        return mode

    def report_filters_of(self, product: Product) -> frozenset[str]:
        """Return the names of a product's filters that only reports accept."""
        return frozenset(self.options(product).filters) - frozenset(product.sync_filters)

    def directions_of(self, product: Product) -> tuple[str, ...]:
        """Return the directions to request, one partition each. Empty if the product takes no `direction`."""
        chosen = self.options(product).directions
        return product.directions if chosen is None else chosen

    def query_of(self, product: Product, direction: str | None) -> dict[str, str]:
        """Return the request parameters that select a partition's rows, without account and dates.

        Booleans are sent as ``true`` [confirmed], and only if they are on and their column is kept.
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
        """Return a fingerprint of the filters that decide which rows a stream has. Empty without filters."""
        filters = self.options(product).filters
        return fingerprint(filters) if filters else ""


def subaccounts_of(config: Mapping[str, Any]) -> str:
    """Return how a run reads sub-accounts: the setting `subaccounts`, or its older form `include_subaccounts`.

    Args:
        config: The settings, which `--discover` has not validated.
    """
    return config.get("subaccounts") or (EACH if config.get(INCLUDE_SUBACCOUNTS) is True else NO_SUBACCOUNTS)


def fingerprint(query: Mapping[str, str]) -> str:
    """Return a digest of request parameters, so that the state can identify them without holding their values."""
    return sha256(json.dumps(query, sort_keys=True).encode()).hexdigest()[:16]


def _time(text: str | None) -> datetime | None:
    return None if text is None else parse_time(text)


def _hours(number: float | None) -> timedelta | None:
    return None if number is None else timedelta(hours=float(number))


def _stream_options(given: Mapping[str, Any]) -> StreamOptions:
    filters = dict(given.get("filters") or {})
    direction = filters.pop(DIRECTION, None)
    return StreamOptions(
        lookback=_hours(given.get("lookback_hours")),
        fetch_mode=given.get("fetch_mode"),
        directions=(direction,) if direction else None,
        filters=filters,
    )
