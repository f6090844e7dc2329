"""TapVonageReports: the settings, the list of streams, and how a run ends."""

from __future__ import annotations

import json
import logging
import os
from copy import deepcopy
from dataclasses import replace
from functools import cached_property, partial
from typing import IO, TYPE_CHECKING, Any, ClassVar, cast

import click
from dotenv import find_dotenv, load_dotenv
from singer_sdk import Tap
from singer_sdk.exceptions import MappingError
from singer_sdk.helpers.capabilities import PluginCapabilities, TapCapabilities
from singer_sdk.singerlib import Catalog
from singer_sdk.tap_base import CliTestOptionValue

from tap_vonage_reports.config.settings import CONFIG_JSONSCHEMA, Settings, from_environment
from tap_vonage_reports.dry_run import plan_run
from tap_vonage_reports.errors import (
    ApiError,
    CatalogError,
    FatalApiError,
    SettingsError,
    StateError,
    TapError,
)
from tap_vonage_reports.exact_json import texts_of
from tap_vonage_reports.extract.session import PACKAGE, SyncSession
from tap_vonage_reports.output.channel import OutputChannel
from tap_vonage_reports.output.messages import MessageWriter
from tap_vonage_reports.output.signals import Interrupted, without_handlers
from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.records.parser import KEY_FIELD
from tap_vonage_reports.redaction import basic_token, redact_logs
from tap_vonage_reports.state.format import BOOKMARKS, check_state
from tap_vonage_reports.streams import ReportStream, files_hold_text, personal_data

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from singer_sdk.helpers.capabilities import CapabilitiesEnum

    from tap_vonage_reports.dry_run import DryRun


PLAN_AS_TABLE, PLAN_AS_JSON = "table", "json"


class TapVonageReports(Tap):
    """Singer tap for the Vonage Reports API: the call and message records of 19 products."""

    name = PACKAGE
    package_name = PACKAGE
    config_jsonschema: ClassVar[dict[str, Any]] = deepcopy(CONFIG_JSONSCHEMA)
    message_writer_class = MessageWriter
    # ACTIVATE_VERSION is not among them: it would make targets delete what Vonage has forgotten.
    capabilities: ClassVar[list[CapabilitiesEnum]] = [
        TapCapabilities.CATALOG,
        TapCapabilities.STATE,
        TapCapabilities.DISCOVER,
        PluginCapabilities.ABOUT,
        PluginCapabilities.STREAM_MAPS,
        PluginCapabilities.FLATTENING,
        PluginCapabilities.STRUCTURED_LOGGING,
        PluginCapabilities.BATCH,
    ]

    def __init__(
        self,
        *,
        config: Mapping[str, Any] | None = None,
        catalog: Catalog | dict[str, Any] | None = None,
        parse_env_config: bool = False,
        validate_config: bool = True,
        **kwargs: Any,  # noqa: ANN401 - handed on to the SDK
    ) -> None:
        """Set up the tap; nothing is asked of the API yet.

        Args:
            config: The settings.
            catalog: What is selected.
            parse_env_config: Whether variables of the environment go before `config`.
            validate_config: Whether the settings have to be complete and right; `--discover` does without.
            kwargs: As for the SDK's `Tap`.

        Raises:
            SettingsError: The settings cannot be used.
            StateError: The state is not one of this tap.
            CatalogError: The catalog names a stream that the tap does not have.
        """
        self._run: SyncSession | None = None
        jsonschema = deepcopy(CONFIG_JSONSCHEMA)
        self.append_builtin_config(jsonschema)
        given = dict(config or {})
        if parse_env_config:
            load_dotenv(find_dotenv(usecwd=True))
            given |= from_environment(os.environ, jsonschema)
        if validate_config:
            settings = Settings.from_config(given, jsonschema)
            redact_logs(
                [
                    settings.api_key,
                    settings.api_secret,
                    basic_token(settings.api_key, settings.api_secret),
                    str(given.get("personal_data_salt") or ""),
                    *texts_of((given.get("batch_config") or {}).get("storage", {}).get("params")),
                ]
            )
            self._run = SyncSession(settings, self._write_state)
        try:
            without_handlers(
                partial(
                    super().__init__,
                    # A setting that is null is one that was not set.
                    config={name: value for name, value in given.items() if value is not None},
                    catalog=_known_catalog(catalog, given) if catalog else None,
                    validate_config=validate_config,
                    **kwargs,
                )
            )
        except MappingError as error:
            # Not the error's own words: they repeat the expression.
            raise SettingsError([f"The setting stream_maps cannot be used ({type(error).__name__})."]) from None
        if "SINGER_SDK_LOG_CONFIG" not in os.environ:
            # They would drown the run's own lines. Who configures logging gets them.
            self.metrics_logger.setLevel(logging.WARNING)

    @property
    def run(self) -> SyncSession:
        """What the streams of this run share.

        Raises:
            SettingsError: The tap was set up without valid settings.
        """
        if self._run is None:
            self._run = SyncSession(Settings.from_config(self.config, self.config_jsonschema), self._write_state)
        return self._run

    def discover_streams(self) -> Sequence[ReportStream]:
        """One stream per product."""
        return [ReportStream(self, product) for product in PRODUCTS.values()]

    @property
    def catalog_dict(self) -> dict[str, Any]:
        """The catalog; fields that hold personal data say of what kind in their metadata (``personal-data``)."""
        catalog = super().catalog_dict
        for entry in catalog["streams"]:
            specs = PRODUCTS[entry["stream"]].schema["properties"]
            for metadata in entry["metadata"]:
                kind = specs.get(metadata["breadcrumb"][-1], {}).get("personal") if metadata["breadcrumb"] else None
                if kind:
                    metadata["metadata"]["personal-data"] = kind
        return catalog

    def load_state(self, state: dict[str, Any]) -> None:
        """Take the state of an earlier run, if it is one.

        Raises:
            StateError: The state is not one of this tap.
        """
        check_state(state, PRODUCTS)
        super().load_state(deepcopy(state))
        # The SDK takes up nothing but the bookmarks.
        others = {key: deepcopy(value) for key, value in state.items() if key != BOOKMARKS}
        cast("dict[str, Any]", self.state).update(others)

    def run_sync(self, sync: Callable[[], object]) -> None:
        """Run a sync, from the first request to the summary.

        Args:
            sync: What to do once the API has answered and accepted the credentials.

        Raises:
            SyncFailedError: A partition failed, or every selected stream was refused.
            BrokenPipeToTargetError: Nobody reads standard output any more.
            OutputError: Standard output cannot be written.
            Interrupted: A signal came; the state is written.
        """
        with self.output.handle_signals():
            try:
                _ = self.run.client, self.run.accounts
                sync()
            except Interrupted as interrupted:
                interrupted.arrived = True
                self._write_state()
                self.logger.warning("Interrupted. The state is written; the next run goes on from there")
                raise
            except (ApiError, FatalApiError):
                self._write_state()
                raise
            finally:
                self.run.close()
        self.run.conclude()

    @cached_property
    def output(self) -> OutputChannel:
        """Where messages go."""
        changes = bool(self.config.get("stream_maps") or self.config.get("flattening_enabled"))
        return OutputChannel(self.message_writer, sdk_changes_records=changes)

    def _write_state(self) -> int:
        """Write the state; how long it is, where that is known."""
        if self.state:  # an empty one would tell nothing, and might replace one that does
            self.state_writer.write_state(self.state)
        return self.output.state_bytes

    def sync(self) -> None:
        """Ask for the first reports of all streams, so that they are generated while others are read; then sync."""
        self.output.start_records()
        for stream in self.selected_streams:
            stream.validate_batch_config()
        readings = [reading for stream in self.selected_streams for reading in stream.open_partitions()]
        for reading in readings:
            self.run.reports.add(reading)
        self.run.reports.pump()
        self.run.pages.expect(readings)
        self.sync_all()

    def plan(self) -> DryRun:
        """What a run would read now. Nothing is asked for that is billed, and the state stays as it is.

        Raises:
            FatalApiError: The API cannot be used at all.
            ApiError: The accounts cannot be listed.
        """
        return plan_run(self.run, [reading for stream in self.selected_streams for reading in stream.open_partitions()])

    @property
    def selected_streams(self) -> list[ReportStream]:
        """The streams that are selected, in the order in which they are read."""
        return [stream for stream in self.streams.values() if stream.selected and isinstance(stream, ReportStream)]

    @classmethod
    def invoke(  # type: ignore[override] # noqa: PLR0913 - as the SDK's own Tap does: these are all that its command passes
        cls,
        *,
        about: bool = False,
        about_format: str | None = None,
        config: Any = None,  # noqa: ANN401 - what the SDK's command makes of --config
        state: IO[str] | None = None,
        catalog: IO[str] | None = None,
        plan: str | None = None,
    ) -> None:
        """Run the tap's command: a sync, unless --about or --plan asks for something else."""
        if about:
            super().invoke(about=about, about_format=about_format)
        cls.print_version(print_fn=cls.logger.info)
        tap = cls(
            config=config.config,
            parse_env_config=config.parse_env,
            state=_read_json(state, StateError, "state"),
            catalog=_read_json(catalog, CatalogError, "catalog"),
        )
        if plan:
            planned = tap.plan()
            click.echo(planned.as_json() if plan == PLAN_AS_JSON else "\n".join(planned.as_table()))
            return
        tap.run_sync(tap.sync)

    @classmethod
    def get_singer_command(cls) -> click.Command:
        """The tap's command: the SDK's, with --plan."""
        command = super().get_singer_command()
        command.params.append(
            click.Option(
                ["--plan"],
                is_flag=False,
                flag_value=PLAN_AS_TABLE,
                type=click.Choice([PLAN_AS_TABLE, PLAN_AS_JSON]),
                help="Say what a run would read, and with how many requests and reports. Nothing is read, or billed.",
            )
        )
        return command

    @classmethod
    def cb_config(cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]) -> Any:  # noqa: ANN401 - the SDK's own
        """Read the configuration files.

        Raises:
            SettingsError: A file is not there, or no JSON object.
        """
        try:
            return super().cb_config(ctx, param, value)
        except OSError as error:
            raise SettingsError(
                [f"The configuration file cannot be read: {error.strerror or type(error).__name__}."]
            ) from None
        except (ValueError, TypeError):
            raise SettingsError(["The configuration file is not a JSON object."]) from None

    @classmethod
    def cb_test(cls, ctx: click.Context, param: click.Option, value: str) -> None:
        """Test the connection: read until a first record of every stream.

        Raises:
            SyncFailedError: A stream could not be read.
        """
        if value == CliTestOptionValue.All.value:
            config = ctx.params["config"]
            tap = cls(config=config.config, parse_env_config=config.parse_env)
            # Every row that is read ahead is billed, and only the first is looked at.
            tap.run.settings = replace(tap.run.settings, max_concurrent_requests=1)
            tap.run_sync(tap.run_connection_test)
            ctx.exit()
        super().cb_test(ctx, param, value)


def _known_catalog(content: Catalog | dict[str, Any], config: Mapping[str, Any]) -> Catalog:
    """A catalog for the tap's own streams, with their keys, columns and types as they are, whatever it says."""
    try:
        if not isinstance(content, Catalog):
            # The SDK takes a file without "streams" for an empty catalog.
            streams: Any = content["streams"]
            content = Catalog.from_dict({"streams": streams})
    except (KeyError, TypeError, AttributeError, ValueError):
        msg = "The catalog file is no Singer catalog. Make a new one with --discover."
        raise CatalogError(msg) from None
    if foreign := sorted(set(content) - set(PRODUCTS)):
        msg = (
            f"The catalog names streams that this tap does not have: {', '.join(foreign)}. "
            "Make a new one with --discover."
        )
        raise CatalogError(msg)
    for name, entry in content.items():
        entry.key_properties = [KEY_FIELD]
        entry.replication_key = PRODUCTS[name].date_field
        properties = entry.schema.properties or {}
        for column in personal_data(PRODUCTS[name], config).dropped_columns & properties.keys():
            del properties[column]
            entry.metadata.pop(("properties", column), None)
        for spec in properties.values():
            if files_hold_text(config) and "object" in (spec.type or ()):
                spec.type = ["string", "null"]
    return content


def _read_json(file: IO[str] | None, error: type[TapError], what: str) -> dict[str, Any] | None:
    if file is None:
        return None
    try:
        content = json.load(file)
    except ValueError:
        msg = f"The {what} file is not JSON."
        raise error(msg) from None
    if not isinstance(content, dict):
        msg = f"The {what} file is not a JSON object."
        raise error(msg)
    return content
