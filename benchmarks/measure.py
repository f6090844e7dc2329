"""Measuring: subjects by turns, what each run took, and the figures over all of them."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

LAUNCHER = Path(__file__).with_name("launcher.py")
LONGEST_RUN_SECONDS = 1800
LOG_LINES_SHOWN = 15
KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH")
"""What a subject sees of the environment: no settings that happen to be there."""


class BenchError(Exception):
    """A subject failed, or did not do what it is measured by."""


class Sample(msgspec.Struct, frozen=True):
    """What one run of a subject took.

    Attributes:
        wall: Seconds from its start to its end.
        cpu: Seconds of user and system time, of all its processes.
        peak: Resident bytes of its largest process.
        facts: What else is known of the run, by name.
    """

    wall: float
    cpu: float
    peak: float
    facts: dict[str, float] = {}


class Figure(NamedTuple):
    """A figure over the runs of a subject: the median, and what the runs lie between."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Subject:
    """Something that is measured.

    Attributes:
        name: What it is called in the table.
        commands: What is run; each one's output is the next one's input.
        kind: ``tap``, ``floor`` or ``peer``.
        rows: How many rows it has to write.
        check: Looks at what a run left in the folder for output, and says what else is known of it.
        prepare: Called before each run.
        baseline: Name of the subject that does the same with nothing to read: its median time is what this one takes
            to start and to end.
        shown: Whether it has a line of its own in the table.
    """

    name: str
    commands: Sequence[Sequence[str]]
    kind: str = "tap"
    rows: int = 0
    check: Callable[[Path], Mapping[str, float]] = lambda _: {}
    prepare: Callable[[], None] = lambda: None
    baseline: str = ""
    shown: bool = True


@dataclass
class Outcome:
    """A subject and its runs.

    Attributes:
        subject: The subject.
        samples: Its runs, in the order of time.
        start: The median seconds of its baseline; 0 without one.
    """

    subject: Subject
    samples: list[Sample] = field(default_factory=list)
    start: float = 0.0

    def figure(self, of: Callable[[Sample], float]) -> Figure:
        """A figure over all runs."""
        values = [of(sample) for sample in self.samples]
        return Figure(statistics.median(values), min(values), max(values))

    def fact(self, name: str) -> Figure:
        """A figure over what is known of the runs beside time and memory."""
        return self.figure(lambda sample: sample.facts[name])

    @property
    def wall(self) -> Figure:
        """Seconds of the whole process."""
        return self.figure(lambda sample: sample.wall)

    @property
    def path(self) -> Figure:
        """Seconds less those of the baseline."""
        return self.figure(self._path)

    @property
    def cpu(self) -> Figure:
        """Seconds of all processors."""
        return self.figure(lambda sample: sample.cpu)

    @property
    def megabytes(self) -> Figure:
        """Peak memory of the largest process."""
        return self.figure(lambda sample: sample.peak / 1e6)

    @property
    def rate(self) -> Figure:
        """Rows a second of the whole process."""
        return self.figure(lambda sample: self.subject.rows / sample.wall)

    @property
    def path_rate(self) -> Figure:
        """Rows a second of the path alone."""
        return self.figure(lambda sample: self.subject.rows / self._path(sample))

    def _path(self, sample: Sample) -> float:
        # Of a tiny run, as --quick makes them, the start is all, and chance can leave less than nothing.
        return sample.wall - self.start if sample.wall > self.start else math.nan


class Usage(msgspec.Struct):
    """What the launcher says of a run; see there."""

    wall: float
    codes: list[int]
    cpu: list[float]
    peaks: list[float]


def measure(
    subjects: Sequence[Subject], *, repeat: int, folder: Path, say: Callable[[str], None]
) -> dict[str, Outcome]:
    """Run every subject several times, by turns, so that what disturbs the machine disturbs all alike.

    Args:
        subjects: The subjects.
        repeat: How often each runs.
        folder: Where they run. What they write goes into its folder `out`, which is empty before each run.
        say: Told of each run.

    Returns:
        The subjects by name, with their runs.

    Raises:
        BenchError: A subject failed.
    """
    outcomes = {subject.name: Outcome(subject) for subject in subjects}
    for turn in range(1, repeat + 1):
        for subject in subjects:
            sample = run(subject, folder)
            say(f"  {turn}/{repeat} {subject.name}: {sample.wall:.2f} s, {sample.peak / 1e6:.0f} MB")
            outcomes[subject.name].samples.append(sample)
    for outcome in outcomes.values():
        if outcome.subject.baseline:
            outcome.start = outcomes[outcome.subject.baseline].wall.median
    return outcomes


def run(subject: Subject, folder: Path) -> Sample:
    """Run a subject once.

    Raises:
        BenchError: It failed, or did not do what it is measured by.
    """
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    subject.prepare()
    usage = launch(subject.commands, folder, out)
    if any(usage.codes):
        message = f"{subject.name} ended with {usage.codes}. The end of its log:\n{log_of(out)}"
        raise BenchError(message)
    try:
        facts = {name: float(value) for name, value in subject.check(out).items()}
    except BenchError as error:
        message = f"{subject.name}: {error}"
        raise BenchError(message) from None
    shutil.rmtree(out)
    return Sample(usage.wall, sum(usage.cpu), max(usage.peaks), facts)


def launch(commands: Sequence[Sequence[str]], folder: Path, out: Path) -> Usage:
    """Run commands by the launcher, in a session of their own: when this call ends, however it ends, so have they.

    Raises:
        BenchError: They could not be started, or took too long.
    """
    task = {
        "commands": [list(map(str, command)) for command in commands],
        "environment": environment(folder),
        "stdout": str(out / "stdout"),
        "stderr": str(out / "stderr"),
    }
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-I", "-S", str(LAUNCHER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=folder,
        start_new_session=True,
    )
    with process:
        try:
            answer, _ = process.communicate(json.dumps(task).encode(), LONGEST_RUN_SECONDS)
        except BaseException as error:
            if sys.platform != "win32":
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                message = f"{commands[0][0]} took more than {LONGEST_RUN_SECONDS} seconds"
                raise BenchError(message) from None
            raise
    if process.returncode:
        message = f"{commands[0][0]} could not be started"
        raise BenchError(message)
    return msgspec.json.decode(answer, type=Usage)


def environment(folder: Path) -> dict[str, str]:
    """The environment of a subject: what it leaves in its home or among the temporary files goes with the folder."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    (folder / "home").mkdir(exist_ok=True)
    return {**kept, "HOME": str(folder / "home"), "TMPDIR": str(folder)}


def log_of(out: Path) -> str:
    """The end of what a run's commands have said."""
    lines = (out / "stderr").read_text("utf-8", "replace").splitlines()
    return "\n".join(lines[-LOG_LINES_SHOWN:])


def exponent(points: Iterable[tuple[float, float]]) -> float:
    """The power of x with which y grows: the slope of the straight line through the points' logarithms.

    Args:
        points: Pairs of x and y, all positive, with at least two different x.
    """
    logarithms = [(math.log(x), math.log(y)) for x, y in points]
    xs, ys = zip(*logarithms, strict=True)
    return statistics.linear_regression(xs, ys).slope
