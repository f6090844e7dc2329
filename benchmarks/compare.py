"""Compare what the tap writes and requests at two git revisions: `python -m benchmarks.compare BEFORE [AFTER]`.

Both taps run as processes through the same scenarios, each time against a fresh sandbox of this working tree. Each
scenario is played twice with the tap of BEFORE, which shows what is deterministic, and once with the tap of AFTER. If
something differs, it is played once more with both, so that timing is never reported as a difference.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from benchmarks.measure import BenchError
from benchmarks.scenarios import SCENARIOS, Stage, Tap

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from typing import TypeAlias

    from benchmarks.scenarios import Request, Run, Scenario

    Aspects: TypeAlias = Mapping[str, Sequence[str]]

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "tap_vonage_reports"
WORKERS = 6
"""Scenarios that run concurrently. Most of the time they wait for the rate limit of reports."""
SHOWN_BEFORE, SHOWN = 60, 160
"""Characters of a line that are shown before a difference, and from it on."""
MAX_SHOWN = 3
"""Differences of a scenario that are shown; all are named."""
UUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
BATCH_NAME = re.compile(r"\d{8}T\d{6,12}Z-[0-9a-f]{8}")
"""Time and random part in the name of a BATCH file."""
MAX_WIDTH = 260
"""Characters of a printed line; lines of a log may have more."""
NOTHING = "(nothing)"
CHANGED = "changed record"
PLURALS = {"STATE": "STATE messages"}
"""The plurals that are not made with an s."""

MESSAGES, STATES, REQUESTS = "order of messages", "all STATEs", "order of requests"
ORDERED = {"messages": {MESSAGES, STATES}, "requests": {REQUESTS}}
"""The aspects that are about order, by the names that scenarios use; all others must always be the same."""


class Outcome(NamedTuple):
    """What came of playing a scenario once.

    Attributes:
        aspects: What is compared: lines, by the name of the aspect.
        counts: Figures for the reader.
        seconds: How long it took.
        error: Why it could not be played to its end, if so.
    """

    aspects: Aspects
    counts: Mapping[str, int]
    seconds: float
    error: str = ""


@dataclass(frozen=True)
class Verdict:
    """The result of comparing a scenario.

    Attributes:
        word: ``same``, ``different``, ``unstable`` if the first tap's outcomes differ where they must not, ``failed``
            if the scenario cannot be played with the first tap, or does not do what it is made for.
        before: An outcome of the first tap.
        varying: The aspects that are not compared because they vary with timing.
        lines: Details of what differs.
    """

    word: str
    before: Outcome
    varying: Sequence[str]
    lines: Sequence[str] = ()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        0 if everything is the same, 1 if something differs or could not be compared.
    """
    options = parser().parse_args(arguments)
    chosen = [scenario for scenario in SCENARIOS if any(word in scenario.name for word in options.only or [""])]
    if not chosen:
        say(f"There is no such scenario. Known: {'; '.join(scenario.name for scenario in SCENARIOS)}.")
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that worktrees and processes go
    started = time.monotonic()
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="compare-"))).resolve()
            taps = [
                stack.enter_context(tap_of(name, revision, folder / name))
                for name, revision in (("before", options.before), ("after", options.after))
            ]
            verdicts = dict(compare(taps[0], taps[1], chosen, folder))
    except BenchError as error:
        say(f"The comparison has failed: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    compared = dict.fromkeys(name for verdict in verdicts.values() for name in verdict.before.aspects)
    say(f"Compared, unless said otherwise: {', '.join(compared)}")
    words = Counter(verdict.word for verdict in verdicts.values())
    total = ", ".join(f"{count} {word}" for word, count in sorted(words.items()))
    say(f"{len(verdicts)} scenarios: {total}; {time.monotonic() - started:.0f} s")
    return 0 if set(words) == {"same"} else 1


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    top.add_argument("before", metavar="BEFORE", help="a git revision")
    top.add_argument("after", metavar="AFTER", nargs="?", help="another one (default: the working tree as it is now)")
    top.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="WORD",
        help="only scenarios with this in their name; may be repeated",
    )
    return top


@contextmanager
def tap_of(name: str, revision: str | None, folder: Path) -> Generator[Tap, None, None]:
    """Take the tap of a revision, in a git worktree for the length of a `with` block.

    Args:
        name: The tap's name in messages.
        revision: The revision; None copies the package of this working tree, so that it can be edited meanwhile.
        folder: A folder to create.

    Raises:
        BenchError: There is no such revision.
    """
    tree, home = folder / "tree", folder / "home"
    home.mkdir(parents=True)
    with ExitStack() as stack:
        if revision is None:
            shutil.copytree(ROOT / PACKAGE, tree / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
            found = "the working tree"
        else:
            found = git("rev-parse", "--short", "--verify", "--end-of-options", f"{revision}^{{commit}}")
            git("worktree", "add", "--quiet", "--detach", str(tree), found)
            stack.callback(git, "worktree", "remove", "--force", str(tree))
        tap = Tap(name, tree, home)
        stack.callback(tap.stop)
        tap.discovered()
        say(f"{name}: {found}")
        yield tap


def git(*arguments: str) -> str:
    """Run git on the working tree's repository.

    Raises:
        BenchError: It failed.
    """
    command = ["git", "-C", str(ROOT), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own arguments
    if done.returncode:
        message = f"git {arguments[0]}: {done.stderr.strip()}"
        raise BenchError(message)
    return done.stdout.strip()


def compare(before: Tap, after: Tap, scenarios: Sequence[Scenario], folder: Path) -> Iterator[tuple[str, Verdict]]:
    """Play scenarios with two taps, and print one line for each.

    Args:
        before: The first tap.
        after: The second tap.
        scenarios: The scenarios.
        folder: An existing folder for temporary files.

    Yields:
        The name of each scenario, and what came of it.
    """
    executor = ThreadPoolExecutor(WORKERS)

    def submit(tap: Tap, scenario: Scenario) -> Future[Outcome]:
        place = Path(tempfile.mkdtemp(prefix=f"{tap.name}-", dir=folder))
        return executor.submit(play, tap, scenario, place)

    try:
        jobs = [
            (scenario, [submit(before, scenario), submit(before, scenario)], [submit(after, scenario)])
            for scenario in scenarios
        ]
        for scenario, befores, afters in jobs:
            verdict = judge(scenario, [job.result() for job in befores], [job.result() for job in afters])
            if verdict.word != "same":
                befores.append(submit(before, scenario))
                afters.append(submit(after, scenario))
                verdict = judge(scenario, [job.result() for job in befores], [job.result() for job in afters])
            for line in lines_of(scenario, verdict):
                say(line)
            yield scenario.name, verdict
    except BaseException:
        before.stop()
        after.stop()
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def play(tap: Tap, scenario: Scenario, folder: Path) -> Outcome:
    """Play a scenario with a tap, and collect what is compared.

    Args:
        tap: The tap.
        scenario: The scenario.
        folder: An existing, empty folder, which is removed.
    """
    started = time.monotonic()
    aspects: Aspects = {}
    counts: Mapping[str, int] = {}
    error = ""
    with Stage(tap, folder, scenario.options) as stage:
        try:
            scenario.play(stage)
            aspects, counts = aspects_of(stage), counts_of(stage)
        except BenchError as reason:
            error = str(reason)
    shutil.rmtree(folder, ignore_errors=True)
    return Outcome(aspects, counts, time.monotonic() - started, error)


def aspects_of(stage: Stage) -> dict[str, list[str]]:
    """Return everything that is compared, as lines by the name of the aspect, from the most to the least telling."""
    clean = _Cleaner(stage)
    runs = dict(enumerate(stage.runs, start=1))
    requests = [
        line
        for number, run in runs.items()
        for line in labeled(number, [clean(_request(each)) for each in run.requests or ()])
    ]
    files = sorted(path for path in stage.files.rglob("*") if path.is_file())
    return {
        "exit codes": [f"run {number}: {run.code}" for number, run in runs.items()],
        "records": _lines(runs, clean, "RECORD"),
        "schemas": _lines(runs, clean, "SCHEMA"),
        "messages by stream": [
            line
            for number, run in runs.items()
            for messages in _by_stream(run).values()
            for line in labeled(number, map(clean, messages))
        ],
        "last STATEs": [
            line for number, run in runs.items() for line in labeled(number, map(clean, run.of_type("STATE")[-1:]))
        ],
        "shapes of STATEs": sorted({line for run in runs.values() for value in run.states for line in shape(value)}),
        "rows of BATCH files": [row for run in runs.values() for row in _rows(run)],
        "bytes of BATCH files": sorted(f"{clean(path.name)} {_digest(path)}" for path in files),
        "requests": _counted(requests),
        MESSAGES: [line for number, run in runs.items() for line in labeled(number, map(clean, run.lines))],
        STATES: _lines(runs, clean, "STATE"),
        REQUESTS: requests,
    }


def counts_of(stage: Stage) -> dict[str, int]:
    """Return figures that tell the reader how much was compared."""
    records: dict[tuple[str, str], dict[str, Any]] = {}
    total = changed = 0
    for run in stage.runs:
        for message in run.messages:
            if message.get("type") == "RECORD":
                key = message["stream"], message["record"].get("id")
                total += 1
                changed += records.get(key, message["record"]) != message["record"]
                records[key] = message["record"]
    return {
        "run": len(stage.runs),
        "record": total,
        CHANGED: changed,
        "STATE": sum(len(run.states) for run in stage.runs),
        "BATCH file": sum(path.is_file() for path in stage.files.rglob("*")),
        "request": sum(len(run.requests or ()) for run in stage.runs),
    }


class _Cleaner:
    """Make lines comparable: replace random IDs and the names of temporary folders."""

    def __init__(self, stage: Stage) -> None:
        self._names = stage.names()
        self._folder = str(stage.files)

    def __call__(self, line: bytes | str) -> str:
        """Return a comparable line. A RECORD message is returned as it is."""
        plain = text(line)
        if '"type":"RECORD"' in plain:
            return plain
        plain = BATCH_NAME.sub("TIME-RANDOM", plain.replace(self._folder, "FOLDER"))
        return UUID.sub(lambda found: self._names.get(found[0], found[0]), plain)


def text(line: bytes | str) -> str:
    """Return a line as text; different bytes give different text."""
    return line if isinstance(line, str) else line.decode("utf-8", "surrogateescape").rstrip("\n")


def labeled(number: int, lines: Iterable[str]) -> list[str]:
    """Return lines with the number of their run."""
    return [f"run {number}: {line}" for line in lines]


def _lines(runs: Mapping[int, Run], clean: _Cleaner, kind: str) -> list[str]:
    """Return the lines of one type of message of several runs, in their order."""
    return [line for number, run in runs.items() for line in labeled(number, map(clean, run.of_type(kind)))]


def _by_stream(run: Run) -> dict[str, list[bytes]]:
    """Return the messages of each stream, in their order; streams in the order of their names."""
    messages: dict[str, list[bytes]] = {}
    for line, message in zip(run.lines, run.messages, strict=True):
        if "stream" in message:
            messages.setdefault(message["stream"], []).append(line)
    return dict(sorted(messages.items()))


def shape(value: object, path: str = "value") -> Iterator[str]:
    """Return the paths of all values in a JSON value, with their types."""
    if isinstance(value, dict) and value:
        for name, member in value.items():
            yield from shape(member, f"{path}.{name}")
    elif isinstance(value, list) and value:
        for member in value:
            yield from shape(member, f"{path}[]")
    else:
        yield f"{path}: {type(value).__name__}"


def _request(request: Request) -> str:
    headers = "; ".join(f"{name}: {value}" for name, value in request.headers)
    query = f"?{request.query}" if request.query else ""
    return f"{request.method} {request.path}{query} {text(request.body)} [{headers}]"


def _counted(requests: Sequence[str]) -> list[str]:
    """Return requests in a fixed order. How often a report is polled depends on timing, so polls count once."""
    polls = {line for line in requests if "GET /v2/reports/<report" in line}
    return sorted([*polls, *(line for line in requests if line not in polls)])


def _digest(path: Path) -> str:
    content = path.read_bytes()
    return f"{len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}"


def _rows(run: Run) -> Iterator[str]:
    """Return what the BATCH files of a run hold, in the order of the messages."""
    for message in run.messages:
        for address in message.get("manifest", ()):
            path = Path(unquote(urlsplit(address).path))
            if path.suffix == ".parquet":
                parquet = importlib.import_module("pyarrow.parquet")  # an optional package
                table = parquet.read_table(path)
                yield f"{message['stream']}: {table.schema}".replace("\n", ", ")
                yield from (f"{message['stream']}: {row}" for row in table.to_pylist())
            else:
                content = path.read_bytes()
                content = gzip.decompress(content) if path.suffix == ".gz" else content
                yield from (f"{message['stream']}: {text(line)}" for line in content.splitlines())


def judge(scenario: Scenario, befores: Sequence[Outcome], afters: Sequence[Outcome]) -> Verdict:
    """Compare the outcomes of a scenario.

    Most aspects must be equal in all outcomes. An order that depends on timing differs only if the first tap always
    gives one order and the second tap always another one.

    Args:
        scenario: The scenario.
        befores: Several outcomes of the first tap.
        afters: One outcome of the second tap, or several.
    """
    first = befores[0]
    for outcome in befores:
        error = outcome.error
        if not error and scenario.changes and not outcome.counts[CHANGED]:
            error = "no row changed between the runs, so the scenario proves nothing"
        if error:
            return Verdict("failed", first, (), [error])
    if errors := [outcome.error for outcome in afters if outcome.error]:
        return Verdict("different", first, (), [f"after: {errors[0]}"])
    by_order = set().union(*(names for key, names in ORDERED.items() if key not in scenario.ordered))
    varying = [name for name in first.aspects if any(o.aspects[name] != first.aspects[name] for o in befores)]
    if unstable := [name for name in varying if name not in by_order]:
        other = next(o for o in befores if o.aspects[unstable[0]] != first.aspects[unstable[0]])
        return Verdict("unstable", first, varying, _differences(unstable, first.aspects, other.aspects))
    differing = []
    for name in first.aspects:
        samples = [outcome.aspects[name] for outcome in afters]
        others = [sample for sample in samples if sample != first.aspects[name]]
        by_chance = name in by_order and (len(others) < len(samples) or any(other != others[0] for other in others))
        if others and name not in varying and not by_chance:
            differing.append(name)
    if not differing:
        return Verdict("same", first, varying)
    other = next(o for o in afters if o.aspects[differing[0]] != first.aspects[differing[0]])
    return Verdict("different", first, varying, _differences(differing, first.aspects, other.aspects))


def _differences(names: Sequence[str], before: Aspects, after: Aspects) -> list[str]:
    """Describe where aspects differ: all of them by name, some with their first differing line."""
    lines = [", ".join(names)]
    shown: set[tuple[str, str]] = set()
    for name in names:
        number, old, new = first_difference(before[name], after[name])
        pair = excerpts(old, new)
        if len(shown) < MAX_SHOWN and pair not in shown and old != new:
            shown.add(pair)
            lines += [f"{name}, line {number}", f"  before: {pair[0]}", f"  after:  {pair[1]}"]
    return lines


def first_difference(before: Sequence[str], after: Sequence[str]) -> tuple[int, str, str]:
    """Return the number of the first line that differs, from 1, and the line on both sides."""
    number = next((n for n, (old, new) in enumerate(zip(before, after, strict=False)) if old != new), None)
    if number is None:
        number = min(len(before), len(after))
    old, new = (lines[number] if number < len(lines) else NOTHING for lines in (before, after))
    return number + 1, old, new


def excerpts(before: str, after: str) -> tuple[str, str]:
    """Return the parts of two lines around their first difference, printable."""
    pairs = zip(before, after, strict=False)
    common = next((n for n, (old, new) in enumerate(pairs) if old != new), min(len(before), len(after)))
    start = max(0, common - SHOWN_BEFORE)
    old, new = (
        ("..." if start else "") + line[start : common + SHOWN] + ("..." if len(line) > common + SHOWN else "")
        for line in (before, after)
    )
    return _printable(old), _printable(new)


def _printable(line: str) -> str:
    return line.encode("ascii", "backslashreplace").decode()


def lines_of(scenario: Scenario, verdict: Verdict) -> Iterator[str]:
    """Return what is printed about a scenario."""
    counts = ", ".join(
        f"{count:,} {name if count == 1 else PLURALS.get(name, f'{name}s')}"
        for name, count in verdict.before.counts.items()
        if count
    )
    yield f"{verdict.word:9} {scenario.name} ({verdict.before.seconds:.0f} s): {counts}"
    if verdict.varying:
        yield f"{'':10}varies with timing, not compared: {', '.join(verdict.varying)}"
    yield from (f"{'':10}{line[:MAX_WIDTH]}" for lines in verdict.lines for line in lines.splitlines())


def say(line: str) -> None:
    """Print a line as soon as it is known."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
