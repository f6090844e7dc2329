"""`dbt build` for the demo, in dbt's own environment: parse the models, wait for the rows, build."""

# ruff: noqa: INP001 - a program, not a package

from __future__ import annotations

import sys

from dbt.cli.main import dbtRunner


def main() -> None:
    """Parse; build as soon as there is a line on standard input, and do nothing if it ends without one."""
    parsed = dbtRunner().invoke(["parse"])
    if not parsed.success:
        sys.exit(1)
    if sys.stdin.readline():
        sys.exit(not dbtRunner(manifest=parsed.result).invoke(["build"]).success)


if __name__ == "__main__":
    main()
