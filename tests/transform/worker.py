"""Commands of dbt in one process, for its packages take seconds to import. Runs in dbt's own environment.

Reads one command per line, in JSON: a list of arguments, and the environment variables that it has beside the
process's. Writes one line in JSON for each.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import Any
from unittest import mock

from dbt.cli.main import dbtRunner


def main() -> None:
    """Run the commands until there are no more."""
    answers = sys.stdout
    sys.stdout = sys.stderr
    runner = dbtRunner()
    for line in sys.stdin:
        arguments, variables = json.loads(line)
        with mock.patch.dict(os.environ, variables):
            done = runner.invoke(arguments)
        release()
        answers.write(json.dumps(report(done)) + "\n")
        answers.flush()


def release() -> None:
    """Let other processes read the DuckDB file."""
    with contextlib.suppress(ImportError):
        from dbt.adapters.duckdb.connections import DuckDBConnectionManager  # noqa: PLC0415 - if it is DuckDB at all

        DuckDBConnectionManager.close_all_connections()


def report(done: Any) -> dict[str, Any]:
    """Return what the tests look at."""
    results = getattr(done.result, "results", None) or []
    return {
        "success": done.success,
        "error": str(done.exception) if done.exception else "",
        "listed": done.result if isinstance(done.result, list) else [],
        "nodes": {result.node.name: str(result.status) for result in results},
        "failures": {result.node.name: result.message for result in results if str(result.status) in {"error", "fail"}},
    }


if __name__ == "__main__":
    main()
