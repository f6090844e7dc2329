"""The tap's command line: the SDK's options and --plan, and errors for files that cannot be read."""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import IO, TYPE_CHECKING, Any

import click
from singer_sdk import Tap
from singer_sdk.tap_base import CliTestOptionValue

from tap_vonage_reports.errors import CatalogError, SettingsError, StateError, TapError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_vonage_reports.dry_run import DryRun

PLAN_AS_TABLE, PLAN_AS_JSON = "table", "json"


class TapCommand(Tap):
    """The command line of a tap that can plan its runs."""

    @abstractmethod
    def sync(self) -> None:
        """Read all selected streams."""

    @abstractmethod
    def run_sync(self, sync: Callable[[], object]) -> None:
        """Run a sync, from the first request to the summary."""

    @abstractmethod
    def plan(self) -> DryRun:
        """Return what a run would read now."""

    @abstractmethod
    def test_connection(self) -> None:
        """Read a record of each stream."""

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
        """Return the tap's command: the SDK's, with --plan."""
        command = super().get_singer_command()
        command.params.append(
            click.Option(
                ["--plan"],
                is_flag=False,
                flag_value=PLAN_AS_TABLE,
                type=click.Choice([PLAN_AS_TABLE, PLAN_AS_JSON]),
                help="Show what a run would read, and with how many requests and reports. Costs nothing.",
            )
        )
        return command

    @classmethod
    def cb_config(cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]) -> Any:  # noqa: ANN401 - the SDK's own
        """Read the configuration files.

        Raises:
            SettingsError: A file is missing, or is not a JSON object.
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
        """Test the connection: read the first record of every stream.

        Raises:
            SyncFailedError: A stream could not be read.
        """
        if value == CliTestOptionValue.All.value:
            config = ctx.params["config"]
            tap = cls(config=config.config, parse_env_config=config.parse_env)
            tap.run_sync(tap.test_connection)
            ctx.exit()
        super().cb_test(ctx, param, value)


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
