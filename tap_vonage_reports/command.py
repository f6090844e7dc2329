"""The tap's command line: the SDK's options, --plan and --test, and errors for files that cannot be read."""

from __future__ import annotations

import json
import logging
from abc import abstractmethod
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click
from singer_sdk import Tap
from singer_sdk.tap_base import CliTestOptionValue

from tap_vonage_reports.errors import CatalogError, SettingsError, StateError, TapError
from tap_vonage_reports.plan_table import plan_table
from tap_vonage_reports.redaction import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_vonage_reports.dry_run import DryRun

logger = logging.getLogger(__name__)

PLAN_AS_TABLE, PLAN_AS_JSON = "table", "json"
TEST_ALL, TEST_SCHEMA, NO_TEST = (
    mode.value for mode in (CliTestOptionValue.All, CliTestOptionValue.Schema, CliTestOptionValue.Disabled)
)
TEST_RECORDS = "records"


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
    def test_connection(self, say: Callable[[str], object]) -> None:
        """Test whether the API serves what is selected, and show that line by line."""

    @abstractmethod
    def sample_records(self) -> None:
        """Write a record of each selected stream."""

    @classmethod
    def invoke(  # type: ignore[override] # noqa: PLR0913 - as the SDK's own Tap does: these are all that its command passes
        cls,
        *,
        about: bool = False,
        about_format: str | None = None,
        config: Any = None,  # noqa: ANN401 - what the SDK's command makes of --config
        state: IO[str] | None = None,
        catalog: IO[str] | None = None,
        test: str = NO_TEST,
        plan: str | None = None,
    ) -> None:
        """Run the tap's command: a sync, unless --about, --test or --plan asks for something else."""
        if about:
            super().invoke(about=about, about_format=about_format)
        cls.print_version(print_fn=cls.logger.info)
        tap = cls(
            config=config.config,
            parse_env_config=config.parse_env,
            state=_read_state(state) if test == NO_TEST else None,
            catalog=_read_catalog(catalog),
        )
        tests: dict[str, Callable[[], object]] = {
            TEST_ALL: partial(tap.test_connection, click.echo),
            TEST_RECORDS: partial(tap.run_sync, tap.sample_records),
            TEST_SCHEMA: tap.write_schemas,
        }
        if run_test := tests.get(test):
            run_test()
        elif plan:
            planned = tap.plan()
            click.echo(planned.as_json() if plan == PLAN_AS_JSON else "\n".join(plan_table(planned)))
        else:
            tap.run_sync(tap.sync)

    @classmethod
    def get_singer_command(cls) -> click.Command:
        """Return the tap's command: the SDK's, with --plan, and with a --test that knows the catalog."""
        command = super().get_singer_command()
        command.params = [option for option in command.params if option.name != "test"]
        command.params.append(
            click.Option(
                ["--test"],
                is_flag=False,
                flag_value=TEST_ALL,
                default=NO_TEST,
                type=click.Choice([TEST_ALL, TEST_RECORDS, TEST_SCHEMA, NO_TEST]),
                help="Test credentials, clock, accounts and selected streams. Fetches few rows, and shows how many "
                "were billed. --test=records writes a record of each selected stream, --test=schema only the schemas.",
            )
        )
        command.params.append(
            click.Option(
                ["--plan"],
                is_flag=False,
                flag_value=PLAN_AS_TABLE,
                type=click.Choice([PLAN_AS_TABLE, PLAN_AS_JSON]),
                help="Show what a run would read, and estimate its rows, requests, price and time. Costs nothing.",
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
        except (OSError, ValueError, TypeError, RecursionError):
            # The SDK's error may lack the name of the file.
            for path in map(Path, value):
                if path.name != "ENV":
                    _check_config_file(path)
            raise SettingsError(["The configuration cannot be read. Check the files given with --config."]) from None


def _check_config_file(path: Path) -> None:
    name = printable(str(path))
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        why = error.strerror or type(error).__name__
        problem = f"The configuration file {name} cannot be read: {why}. Check the path."
    except json.JSONDecodeError as error:
        problem = f"The configuration file {name} is not JSON ({_place(error)}). Correct it."
    except (ValueError, RecursionError):
        problem = f"The configuration file {name} is not valid JSON in UTF-8. Correct it."
    else:
        if isinstance(content, dict):
            return
        problem = f"The configuration file {name} is not a JSON object. Write the settings as a JSON object."
    raise SettingsError([problem]) from None


def _read_state(file: IO[str] | None) -> dict[str, Any] | None:
    """Read the state. An empty file is no state: a shell makes one before the first run has written anything."""
    if file is None:
        return None
    text = _read_text(file, StateError, "state")
    if not text.strip():
        logger.info("The state file is empty: starting without a state")
        return None
    return _parse_object(text, StateError, "state")


def _read_catalog(file: IO[str] | None) -> dict[str, Any] | None:
    return None if file is None else _parse_object(_read_text(file, CatalogError, "catalog"), CatalogError, "catalog")


def _read_text(file: IO[str], error_type: type[TapError], what: str) -> str:
    try:
        return file.read()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"The {what} file cannot be read ({type(error).__name__}). Pass a text file in UTF-8."
        raise error_type(msg) from None


def _parse_object(text: str, error_type: type[TapError], what: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        msg = f"The {what} file is not JSON ({_place(error)}). Correct it, or pass another file."
        raise error_type(msg) from None
    except (ValueError, RecursionError):
        msg = f"The {what} file is not JSON. Correct it, or pass another file."
        raise error_type(msg) from None
    if not isinstance(content, dict):
        msg = f"The {what} file is not a JSON object. Pass another file."
        raise error_type(msg)
    return content


def _place(error: json.JSONDecodeError) -> str:
    return f"line {error.lineno}, column {error.colno}"
