"""TapVonageReports: the tap as the Singer SDK sees it."""

from __future__ import annotations

import logging
import os
from copy import deepcopy
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from dotenv import find_dotenv, load_dotenv
from singer_sdk.helpers.capabilities import PluginCapabilities, TapCapabilities

from tap_vonage_reports.account_stream import AccountStream
from tap_vonage_reports.catalog import NOTHING_SELECTED, add_personal_metadata, read_catalog
from tap_vonage_reports.command import TapCommand
from tap_vonage_reports.config.schema import CONFIG_JSONSCHEMA
from tap_vonage_reports.config.settings import Settings
from tap_vonage_reports.config.texts import check_unread_variables, from_environment, parse_texts, warn_of_quotes
from tap_vonage_reports.config.validation import secrets_of
from tap_vonage_reports.connection_test import ConnectionTest
from tap_vonage_reports.dry_run import PlanInputs, plan_run
from tap_vonage_reports.errors import CatalogError, SettingsError
from tap_vonage_reports.extract.accounts import check_accounts
from tap_vonage_reports.extract.session import PACKAGE, SyncSession
from tap_vonage_reports.output.channel import OutputChannel, StateWriter
from tap_vonage_reports.output.messages import MessageWriter
from tap_vonage_reports.output.signals import without_handlers
from tap_vonage_reports.output.stream_maps import guarded_mapper, registration, unknown_names
from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.record_stream import RecordStream
from tap_vonage_reports.redaction import RedactingFormatter, basic_token, encodings, printable, redact_logs
from tap_vonage_reports.sources import SOURCES
from tap_vonage_reports.state.validation import check_state, foreign_keys, unwrap
from tap_vonage_reports.streams import ReportStream
from tap_vonage_reports.sync_run import SyncRun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from singer_sdk.helpers.capabilities import CapabilitiesEnum
    from singer_sdk.singerlib import Catalog

    from tap_vonage_reports.dry_run import DryRun
    from tap_vonage_reports.extract.reader import PartitionSync


AnyStream = TypeVar("AnyStream", bound=RecordStream)

CAPABILITIES: list[CapabilitiesEnum] = [
    TapCapabilities.CATALOG,
    TapCapabilities.STATE,
    TapCapabilities.DISCOVER,
    PluginCapabilities.ABOUT,
    PluginCapabilities.STREAM_MAPS,
    PluginCapabilities.FLATTENING,
    PluginCapabilities.STRUCTURED_LOGGING,
    PluginCapabilities.BATCH,
]
"""ACTIVATE_VERSION is not among them: it would make targets delete what Vonage has forgotten."""


class TapVonageReports(TapCommand):
    """Singer tap for the Vonage Reports API: the call and message records of 19 products."""

    name = PACKAGE
    package_name = PACKAGE
    config_jsonschema: ClassVar[dict[str, Any]] = deepcopy(CONFIG_JSONSCHEMA)
    message_writer_class = MessageWriter
    capabilities: ClassVar[list[CapabilitiesEnum]] = CAPABILITIES

    def __init__(
        self,
        *,
        config: Mapping[str, Any] | None = None,
        catalog: Catalog | dict[str, Any] | None = None,
        parse_env_config: bool = False,
        validate_config: bool = True,
        **kwargs: Any,  # noqa: ANN401 - handed on to the SDK
    ) -> None:
        """Set up the tap; no request is sent yet.

        Args:
            config: The settings.
            catalog: What is selected.
            parse_env_config: True if environment variables override `config`.
            validate_config: False where the settings need not be complete and valid (`--discover`).
            kwargs: As for the SDK's `Tap`.

        Raises:
            SettingsError: The settings are invalid.
            StateError: The state was not written by this tap.
            CatalogError: The catalog names a stream that the tap does not have.
        """
        self._session: SyncSession | None = None
        self._is_state_given = kwargs.get("state") is not None
        jsonschema = deepcopy(CONFIG_JSONSCHEMA)
        self.append_builtin_config(jsonschema)
        given = _configuration(config or {}, jsonschema, parse_env=parse_env_config, check=validate_config)
        if validate_config:
            self._session = self._new_session(Settings.from_config(given, jsonschema))
        self.logger.addFilter(_is_of_use)
        without_handlers(
            partial(
                super().__init__,
                # A null setting counts as not set.
                config={name: value for name, value in given.items() if value is not None},
                catalog=read_catalog(catalog, given) if catalog else None,
                validate_config=validate_config,
                **kwargs,
            )
        )
        _quiet(self.metrics_logger)

    @cached_property
    def output(self) -> OutputChannel:
        """The channel for Singer messages."""
        return OutputChannel(self.message_writer)

    @property
    def session(self) -> SyncSession:
        """The run that all streams share.

        Raises:
            SettingsError: The tap was set up without valid settings.
        """
        if self._session is None:
            self._session = self._new_session(Settings.from_config(self.config, self.config_jsonschema))
        return self._session

    def _new_session(self, settings: Settings) -> SyncSession:
        return SyncSession(settings, self._write_state, self._defer_signals)

    def _defer_signals(self) -> AbstractContextManager[None]:
        return self.output.defer_signals()  # the writer of the output is not known before the SDK has set it up

    def discover_streams(self) -> Sequence[RecordStream]:
        """One stream per product, and one of the accounts."""
        return [*(ReportStream(self, product) for product in PRODUCTS.values()), AccountStream(self)]

    @property
    def catalog_dict(self) -> dict[str, Any]:
        """The catalog; the metadata of a field says which kind of personal data it holds (``personal-data``)."""
        catalog = super().catalog_dict
        add_personal_metadata(catalog)
        return catalog

    def setup_mapper(self) -> None:
        """Set up the stream maps.

        Raises:
            SettingsError: A map cannot be used, or names a column or function that does not exist.
        """
        register = registration(self.streams, self.catalog)  # its own errors are no errors of a map
        self.mapper = guarded_mapper(self.config, register, self.logger)
        if problems := [problem for stream in self.selected_streams for problem in unknown_names(stream, self.config)]:
            raise SettingsError(problems)

    def load_state(self, state: dict[str, Any]) -> None:
        """Load the state of an earlier run.

        Raises:
            StateError: The state was not written by this tap.
        """
        state = unwrap(state)
        check_state(state, SOURCES)
        super().load_state(deepcopy(state))
        cast("dict[str, Any]", self.state).update(deepcopy(foreign_keys(state)))

    def run_sync(self, sync: Callable[[], object]) -> None:
        """Run a sync, from the first request to the summary: see `SyncRun.run`."""
        SyncRun(self.session, self.output, self._write_state).run(sync)

    def _write_state(self) -> int:
        """Write the state. Return its length in bytes, where that is known."""
        if self.state:  # an empty one would say nothing, and might replace one that does
            self.output.write_state(self.state, super().state_writer.write_state)
        return self.output.state_bytes

    @property
    def state_writer(self) -> Any:  # noqa: ANN401 - the SDK has no public name for its own
        """What the SDK's streams write STATE with. While a partition is read, only the checkpointer writes it."""
        return StateWriter(self._write_state, lambda: self.session.checkpointer.is_active)

    def sync(self) -> None:
        """Start on all streams at the same time, so that reports are generated while others are read; then sync."""
        self.output.start_records()
        self._check_selection()
        for stream in self.selected_streams:
            stream.validate_batch_config()
        self.session.prepare(self._open_partitions())
        self.sync_all()

    def plan(self) -> DryRun:
        """Return what a run would read now. No request is billed, and the state stays as it is.

        Raises:
            FatalApiError: The API cannot be used at all.
            ApiError: The accounts cannot be listed.
            SettingsError: The API refuses an account in `account_ids`.
            CatalogError: No stream is selected.
        """
        self._check_selection()
        check_accounts(self.session.settings, self.session.client)
        has_state = bool(self.state)  # opening adds to it
        return plan_run(
            self.session,
            self._open_partitions(),
            [stream.name for stream in self._selected(AccountStream)],
            PlanInputs(self.input_catalog is not None, has_state, self._is_state_given and not has_state),
        )

    def _check_selection(self) -> None:
        """Find out whether anything is selected.

        Raises:
            CatalogError: Nothing is. A schedule that reads nothing would otherwise look successful.
        """
        if not self.selected_streams:
            raise CatalogError(NOTHING_SELECTED)

    def test_connection(self, say: Callable[[str], object]) -> None:
        """Test credentials, clock, accounts and selected streams: see `ConnectionTest.run`.

        Args:
            say: Shows a line, in which no secret stands.
        """
        formatter = RedactingFormatter(logging.Formatter(), encodings(_secrets(self.config)))
        test = ConnectionTest(
            self.session,
            self._selected(ReportStream),
            self._selected(AccountStream),
            lambda line: say(printable(formatter.redact(line))),
            has_catalog=self.input_catalog is not None,
        )
        SyncRun(self.session, self.output).guard(test.run)

    def sample_records(self) -> None:
        """Write a record of each selected stream, once the API has accepted the accounts in `account_ids`.

        Raises:
            SettingsError: The API refuses one of them.
        """
        check_accounts(self.session.settings, self.session.client)
        # One page at a time: prefetched rows are billed, and the SDK looks only at the first one.
        self.session.settings = replace(self.session.settings, max_concurrent_requests=1)
        self.run_sync_dry_run(dry_run_record_limit=1, streams=list(_sampled(self.selected_streams, self.logger)))
        self._write_state()  # the SDK's own is held back while a stream is read, which it breaks off
        self.output.flush()

    def _open_partitions(self) -> list[PartitionSync]:
        return [sync for stream in self.selected_streams for sync in stream.open_partitions()]

    @property
    def selected_streams(self) -> list[RecordStream]:
        """The selected streams, in the order in which they are read."""
        return [stream for stream in self.streams.values() if stream.selected and isinstance(stream, RecordStream)]

    def _selected(self, kind: type[AnyStream]) -> list[AnyStream]:
        return [stream for stream in self.selected_streams if isinstance(stream, kind)]


def _sampled(streams: Iterable[RecordStream], logger: logging.Logger) -> Iterator[RecordStream]:
    """Yield the selected streams that pages can read: without a filter, a sample might be of excluded rows."""
    for stream in streams:
        if names := stream.needs_reports_for():
            logger.warning(
                "%s: not sampled, because only reports accept %s. Use --test to test this stream",
                stream.name,
                ", ".join(names),
            )
        else:
            yield stream


def _configuration(
    config: Mapping[str, Any], jsonschema: Mapping[str, Any], *, parse_env: bool, check: bool
) -> dict[str, Any]:
    """Return the configuration, with variables over it if they are read, and keep its secrets out of the log."""
    given = parse_texts(config, jsonschema)
    if parse_env:
        load_dotenv(find_dotenv(usecwd=True))
        given |= from_environment(os.environ, jsonschema)
    elif check:
        check_unread_variables(given, os.environ, jsonschema)
    redact_logs(_secrets(given))
    if check:
        warn_of_quotes(given)
    return given


def _quiet(metrics_logger: logging.Logger) -> None:
    """Keep the SDK's metrics out of the log: six lines for each partition would drown the tap's own.

    The log level DEBUG brings them back, and so does a logging configuration with a handler for them. Meltano always
    passes a configuration, without such a handler.
    """
    if not (metrics_logger.handlers or logging.getLogger().isEnabledFor(logging.DEBUG)):
        metrics_logger.setLevel(logging.WARNING)


def _is_of_use(record: logging.LogRecord) -> bool:
    """Drop lines of the SDK: the environment is read, by the tap; and streams that are not selected are many."""
    return record.msg not in ("Skipping parse of env var settings...", "Skipping deselected stream '%s'.")


def _secrets(config: Mapping[str, Any]) -> list[str]:
    """Return every text that no log line may show."""
    key, secret = config.get("api_key"), config.get("api_secret")
    return [*secrets_of(config), *([basic_token(key, secret)] if key and secret else [])]
