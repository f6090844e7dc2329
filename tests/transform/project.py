"""dbt in an environment of its own, as users run it in the folder transform/."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.environments import environment
from tests.transform.staging import PROJECT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from typing_extensions import Self

REQUIREMENTS = (PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines()
WORKER = Path(__file__).with_name("worker.py")


class Dbt:
    """A process that runs commands of dbt, in any project."""

    def __init__(self, folder: Path) -> None:
        """Start the process.

        Args:
            folder: The folder of its log.
        """
        python = environment("dbt", REQUIREMENTS) / "python"
        own = {
            "DBT_PROFILES_DIR": str(PROJECT),
            "DBT_QUIET": "true",
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "DO_NOT_TRACK": "1",
            # Files that no test reads.
            "DBT_LOG_LEVEL_FILE": "none",
            "DBT_WRITE_JSON": "false",
        }
        self._log = folder / "dbt.log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - from above
                [python, WORKER],
                env={**os.environ, **own},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def run(self, arguments: tuple[str, ...], variables: Mapping[str, str]) -> dict[str, Any]:
        """Run a command with environment variables.

        Returns:
            Whether it succeeded, its error, what it listed, the status of each node, the messages of those that failed,
            and what dbt and the project's macros have printed.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        printed = self._log.stat().st_size
        self._process.stdin.write(json.dumps((arguments, variables)).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        text = self._log.read_bytes()[printed:].decode()
        assert line, text[-3000:]
        answer: dict[str, Any] = json.loads(line)
        return answer | {"printed": text}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()


@dataclass
class Project:
    """A folder with a project, in which dbt runs.

    Attributes:
        dbt: The process that runs it.
        folder: Where it is. What dbt writes goes into its folder `target`.
        variables: Its environment variables.
    """

    dbt: Dbt
    folder: Path
    variables: dict[str, str]

    def run(self, *arguments: str) -> dict[str, Any]:
        """Run a command.

        Returns:
            The same as `Dbt.run`.
        """
        own = {"DBT_PROJECT_DIR": str(self.folder), "DBT_LOG_PATH": str(self.folder / "logs")}
        return self.dbt.run(arguments, {**own, **self.variables})

    def succeed(self, *arguments: str) -> dict[str, Any]:
        """Run a command of which no node may fail."""
        done = self.run(*arguments)
        assert done["success"], (done["error"], done["failures"], done["printed"][-3000:])
        return done
