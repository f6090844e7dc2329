"""The entry point: runs the command, logs its error, and returns an exit code."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import click
from singer_sdk.exceptions import ConfigValidationError

from tap_vonage_reports.errors import OutputError, SettingsError, TapError
from tap_vonage_reports.output.messages import output_errors
from tap_vonage_reports.output.signals import Interrupted
from tap_vonage_reports.redaction import redact_logs, traceback_without_text
from tap_vonage_reports.tap import TapVonageReports

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger(TapVonageReports.name)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: What stands behind the command's name; None: what this process was started with.

    Returns:
        The exit code: 0 when everything selected was read, 1 when not, 128 + signal when interrupted.
    """
    try:
        return _command(arguments)
    except SettingsError as error:
        for problem in error.problems:
            logger.error(problem)
    except (TapError, ConfigValidationError) as error:
        logger.error("%s", error)
    except click.ClickException as error:
        logger.error("%s", error.format_message())
    except (click.Abort, KeyboardInterrupt):
        return 130
    except Interrupted as interrupted:
        return interrupted.exit_code
    except Exception as error:  # noqa: BLE001 - the way out of every program
        logger.critical(
            "Unexpected error: %s. This is a bug: please open an issue with this line. No record is lost; the next run "
            "continues from the last state.",
            traceback_without_text(error),
        )
    return 1


def _command(arguments: Sequence[str] | None) -> int:
    """Run the command; its exit code, when all that it has written is out.

    Raises:
        OutputError: Standard output is closed, or cannot be written.
        SettingsError: The log cannot be set up.
    """
    if sys.__stdout__ is None:
        why = "it is closed"
        raise OutputError(why)
    try:
        command = _set_up()
        redact_logs(())
        code = command.main(arguments, prog_name=TapVonageReports.name, standalone_mode=False)
    except SystemExit as done:  # the SDK's way out of --about
        code = done.code
    except OSError as error:
        if error.filename is not None:
            raise
        with output_errors():  # the SDK writes the catalog and the like itself
            raise
    with output_errors():
        sys.stdout.flush()
    return int(code or 0)


def _set_up() -> click.Command:
    """Set up the log, as the environment says, and return the command.

    Raises:
        SettingsError: The level or the configuration of the log is not valid.
    """
    try:
        return TapVonageReports.cli
    except ValueError:
        logger.disabled = False  # a configuration that fails has disabled all loggers before
        problem = (
            "The log cannot be set up. Set TAP_VONAGE_REPORTS_LOGLEVEL or LOGLEVEL to debug, info, warning or error, "
            "and check the file in SINGER_SDK_LOG_CONFIG."
        )
        raise SettingsError([problem]) from None
