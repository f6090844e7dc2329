"""dbt in an environment of its own, as users run it in the folder transform/."""

from __future__ import annotations

import json
import os
import subprocess
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
    """A process that runs commands of dbt."""

    def __init__(self, folder: Path, variables: Mapping[str, str], project: Path = PROJECT) -> None:
        """Prepare the process.

        Args:
            folder: The folder for what dbt writes.
            variables: The environment variables of the project.
            project: The folder of the project.
        """
        python = environment("dbt", REQUIREMENTS) / "python"
        own = {
            "DBT_PROFILES_DIR": str(PROJECT),
            "DBT_PROJECT_DIR": str(project),
            "DBT_TARGET_PATH": str(folder / "target"),
            "DBT_LOG_PATH": str(folder / "logs"),
            "DBT_QUIET": "true",
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "DO_NOT_TRACK": "1",
        }
        self._log = folder / "dbt.log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - from above
                [python, WORKER],
                env={**os.environ, **own, **variables},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def run(self, *arguments: str) -> dict[str, Any]:
        """Run a command.

        Returns:
            Whether it succeeded, its error, what it listed, the status of each node, the messages of those that failed,
            and what dbt and the project's macros have printed.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        printed = self._log.stat().st_size
        self._process.stdin.write(json.dumps(arguments).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, self._log.read_text(encoding="utf-8")[-3000:]
        answer: dict[str, Any] = json.loads(line)
        return answer | {"printed": self._log.read_bytes()[printed:].decode()}

    def succeed(self, *arguments: str) -> dict[str, Any]:
        """Run a command of which no node may fail."""
        done = self.run(*arguments)
        assert done["success"], (done["error"], done["failures"], self._log.read_text(encoding="utf-8")[-3000:])
        return done

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()
