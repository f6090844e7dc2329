"""Make the page: `./run report`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from transform.page.marts import NoModelsError, open_marts
from transform.page.page import build

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page, and say where it is.

    Args:
        arguments: The command line without the program; default: that of the process.
    """
    parser = argparse.ArgumentParser(
        prog="./run report", description="Make one HTML page from the models of transform/."
    )
    parser.add_argument(
        "database",
        nargs="?",
        default=os.environ.get("VONAGE_DUCKDB", "transform/warehouse.duckdb"),
        help="path of a DuckDB file, or URL of a PostgreSQL database; default: VONAGE_DUCKDB, or %(default)s",
    )
    parser.add_argument(
        "--schema", default=os.environ.get("VONAGE_MODELS_SCHEMA", "analytics"), help="schema of the models"
    )
    parser.add_argument("--output", type=Path, default=Path(".run/report.html"), help="the page; default: %(default)s")
    options = parser.parse_args(arguments)
    if "://" not in options.database and not Path(options.database).exists():
        sys.exit(f"There is no file {options.database}. Build the models first: docs/answers.md.")
    try:
        with open_marts(options.database, options.schema) as marts:
            page = build(marts)
    except NoModelsError as error:
        sys.exit(
            f"The models in the schema {options.schema} cannot be read: {error}. Check the database and --schema, and "
            "build the models with the same version of the project: docs/answers.md."
        )
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(page, encoding="utf-8")
    sys.stdout.write(f"{options.output.resolve()}\n")


if __name__ == "__main__":
    main()
