"""The command `tap-vonage-reports`, also `python -m tap_vonage_reports`: every way out ends here."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import click
from singer_sdk.exceptions import ConfigValidationError

from tap_vonage_reports.errors import SettingsError, TapError
from tap_vonage_reports.messages import Interrupted
from tap_vonage_reports.tap import TapVonageReports

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger(TapVonageReports.name)


def main() -> None:
    """Run the command and exit: 0 when everything selected was read, 1 when not, 128 + signal when interrupted."""
    sys.exit(run())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: What stands behind the command's name; None: what this process was started with.

    Returns:
        The exit code.
    """
    try:
        code: int | None = TapVonageReports.cli.main(arguments, prog_name=TapVonageReports.name, standalone_mode=False)
    except SettingsError as error:
        for problem in error.problems:
            logger.error(problem)
    except TapError as error:
        logger.error("%s", error)
    except ConfigValidationError as error:
        logger.error("%s", error)
    except click.ClickException as error:
        logger.error("%s", error.format_message())
    except click.Abort:
        return 130
    except SystemExit as done:  # the SDK's way out of --about
        return int(done.code or 0)
    except Interrupted as interrupted:
        return interrupted.exit_code
    else:
        return code or 0
    return 1


if __name__ == "__main__":
    main()
