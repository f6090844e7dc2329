"""The command `target-vonage-files` (or `python -m tap_vonage_reports.load`)."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import sys
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn

import click

from tap_vonage_reports.errors import OutputError, SettingsError, TapError
from tap_vonage_reports.load.early import EarlyInput, input_error
from tap_vonage_reports.load.settings import ENVIRONMENT, LOG_LEVEL, NAME, Settings, about, read_settings
from tap_vonage_reports.load.workspace import workspace
from tap_vonage_reports.redaction import redact_logs, traceback_without_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

    from tap_vonage_reports.load.destination import Destination

logger = logging.getLogger("tap_vonage_reports.load")

MEMORY = "1GB"
"""The most memory for rows on their way to PostgreSQL, which are sorted: the rest goes to the temporary folder."""
_CLOSED = "it is closed"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
FORMAT = "%(asctime)s | %(levelname)-8s | %(name)-28s | %(message)s"


@click.command(name=NAME, context_settings={"help_option_names": ["--help"]})
@click.option(
    "--config",
    "sources",
    multiple=True,
    help=f"JSON file with settings, or {ENVIRONMENT} for the environment. May be repeated; the last one wins.",
)
@click.option("--input", "file", type=click.File("rb"), help="File to read messages from instead of standard input.")
@click.option("--about", "show_about", is_flag=True, help="Show the settings.")
@click.option("--format", "about_format", type=click.Choice(["text", "json"]), default="text", help="Form of --about.")
@click.version_option(version("tap-vonage-reports"), prog_name=NAME, message="%(prog)s v%(version)s")
def command(sources: tuple[str, ...], file: IO[bytes] | None, about_format: str, *, show_about: bool) -> None:
    """Load the Parquet files of tap-vonage-reports into PostgreSQL or a DuckDB file, and remove them."""
    if show_about:
        click.echo(_about(about_format))
        return
    settings = read_settings(sources, os.environ)
    redact_logs(settings.secrets)
    # Python has none of a stream that is closed when it starts.
    if not sys.stdout:
        raise OutputError(_CLOSED)
    if not (file or sys.stdin):
        raise input_error(_CLOSED)
    load(settings, file or EarlyInput(sys.stdin.fileno(), settings.identity), _write_state)


def load(settings: Settings, lines: Iterable[bytes], write_state: Callable[[bytes], object]) -> None:
    """Load what messages announce.

    Args:
        settings: The settings.
        lines: The messages, one in a line.
        write_state: Called with the value of each STATE message when what came before it is committed.

    Raises:
        LoadError: Something could not be loaded.
        SettingsError: A package is not installed.
    """
    try:
        from tap_vonage_reports.load.files import FileStore  # noqa: PLC0415 - an extra may be missing
        from tap_vonage_reports.load.ledger import Ledger  # noqa: PLC0415 - likewise
        from tap_vonage_reports.load.leftovers import Tools  # noqa: PLC0415 - likewise
        from tap_vonage_reports.load.loader import Loader  # noqa: PLC0415 - likewise
        from tap_vonage_reports.load.parquet_rows import engine  # noqa: PLC0415 - likewise
    except ImportError:
        raise SettingsError([_NOT_INSTALLED]) from None
    with (
        workspace() as folder,
        closing(engine(folder, memory="" if settings.duckdb_path else MEMORY)) as connection,
        closing(_destination(settings, connection)) as destination,
    ):
        files = FileStore(settings.storage_params, folder)
        tools = Tools(destination, Ledger(destination), files, connection, settings.identity)
        loader = Loader(tools, write_state, metadata=settings.add_record_metadata, leftovers=settings.load_leftovers)
        loader.run(lines)


_NOT_INSTALLED = (
    "The loader needs packages that are not installed. Run pip install 'tap-vonage-reports[load]', or in meltano.yml "
    "set its pip_url to tap-vonage-reports[load]."
)


def _destination(settings: Settings, connection: object) -> Destination:
    if settings.duckdb_path:
        from tap_vonage_reports.load.duckdb_file import DuckDBFile  # noqa: PLC0415 - one of two is needed

        return DuckDBFile(connection, Path(settings.duckdb_path).expanduser(), settings.default_target_schema)
    try:
        from tap_vonage_reports.load.postgres import Postgres  # noqa: PLC0415 - likewise
    except ImportError:
        raise SettingsError([_NOT_INSTALLED]) from None
    return Postgres(*settings.server, settings.default_target_schema)


def _about(about_format: str) -> str:
    schema = about()
    found = {
        "name": NAME,
        "description": "Loads the Parquet files of tap-vonage-reports into PostgreSQL or a DuckDB file",
        "version": version("tap-vonage-reports"),
        "capabilities": ["about", "batch"],
        "settings": schema,
    }
    if about_format == "json":
        return json.dumps(found, indent=2)
    lines = [f"{NAME} {found['version']}: {found['description']}", "", "Settings:"]
    lines += [f"  {name:28}{spec['description']}" for name, spec in schema["properties"].items()]
    return "\n".join(lines)


def _write_state(value: bytes) -> None:
    try:
        sys.stdout.buffer.write(value + b"\n")
        sys.stdout.buffer.flush()
    except OSError as error:
        raise OutputError(error.strerror or type(error).__name__) from None


def run(arguments: list[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: What stands behind the command's name; None: what this process was started with.

    Returns:
        The exit code: 0 when everything was loaded, 1 when not, 128 + signal when interrupted.
    """
    try:
        result = command.main(arguments, prog_name=NAME, standalone_mode=False)
    except SettingsError as error:
        for problem in error.problems:
            logger.error(problem)
    except TapError as error:
        logger.error("%s", error)
    except click.ClickException as error:
        logger.error("%s", error.format_message())
    except (click.Abort, KeyboardInterrupt):
        return 128 + signal.SIGINT
    except Exception as error:  # noqa: BLE001 - the way out of every program
        logger.critical(
            "Unexpected error: %s. This is a bug: please open an issue with this line. No row is lost; the next run "
            "repeats what was not committed.",
            traceback_without_text(error),
        )
    else:
        return int(result or 0)
    return 1


def main() -> NoReturn:
    """Run the command and exit with its code."""
    signal.signal(signal.SIGTERM, _stop)
    level = (os.environ.get(LOG_LEVEL) or os.environ.get("LOGLEVEL") or "INFO").upper()
    logging.basicConfig(format=FORMAT, level=level if level in LEVELS else "INFO")
    redact_logs(())
    code = run()
    gc.freeze()  # the system frees the memory of a process faster than a last collection
    sys.exit(code)


def _stop(signum: int, _frame: FrameType | None) -> NoReturn:
    """End the process by SIGTERM. The open transaction is rolled back, and temporary files go."""
    sys.exit(128 + signum)


if __name__ == "__main__":
    main()
