"""`./run mutants`: which small faults in the tap would no test notice."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tests.mutants.coverage_map import CoverageMap
from tests.mutants.operators import Mutant, mutants_of
from tests.mutants.runner import PACKAGE, PACKAGES, MutantsError, Result, judge, measure, start_worker, tests_of

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from concurrent.futures import Executor

TREE = Path(__file__).resolve().parent.parent.parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge a sample of mutants.

    Returns:
        0, or 1 if fewer were killed than asked for, or none could be judged.
    """
    options = parsed(arguments)
    chosen = sample(options.tree, options.module, options.sample, options.seed)
    if not chosen:
        say("No mutants: the modules do not exist or have no code to change. Check --module.")
        return 1
    say(f"{len(chosen)} mutants, seed {options.seed}")
    results = []
    try:
        with start_workers(options) as workers:
            measured = measurement(workers, options.tree, chosen)
            sources = sources_of(options.tree)
            tests = [measured.choose(mutant, sources, f"tests/{package_of(mutant)}") for mutant in chosen]
            seconds = [sum(measured.seconds[test] for test in some) for some in tests]
            for result in workers.map(judge, chosen, tests, seconds):
                results.append(result)
                if result.outcome == "survived":
                    say(*told(result, options.tree))
    except MutantsError as error:
        say(str(error))
        return 1
    share = summarized(results)
    return int(share < options.at_least)


@contextmanager
def start_workers(options: argparse.Namespace) -> Generator[Executor, None, None]:
    """Start workers, each with a copy of the tree. No process and no copy stays, also of a run that ends early."""

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    # Each worker loads the libraries itself: only then is it free of threads, and may fork.
    with (
        TemporaryDirectory(prefix="mutants-") as folder,
        ProcessPoolExecutor(
            options.workers,
            get_context("spawn"),
            initializer=start_worker,
            initargs=(options.tree, Path(folder), options.timeout),
        ) as workers,
    ):
        try:
            yield workers
        except BaseException:
            for process in active_children():
                process.terminate()
            raise


def sample(tree: Path, modules: Sequence[str], count: int, seed: int) -> list[Mutant]:
    """Return some mutants of modules, those of one package together.

    Args:
        tree: The tree.
        modules: Files and folders in it.
        count: How many; 0: all.
        seed: Which.
    """
    paths = sorted({path for module in modules for path in python_files(tree / module)})
    found = [
        mutant
        for path in paths
        for mutant in mutants_of(path.relative_to(tree).as_posix(), path.read_text(encoding="utf-8"))
    ]
    return sorted(random.Random(seed).sample(found, min(count or len(found), len(found))))


def python_files(path: Path) -> list[Path]:
    """Return the modules at a path."""
    return [path] if path.is_file() else list(path.rglob("*.py"))


def measurement(workers: Executor, tree: Path, mutants: Sequence[Mutant]) -> CoverageMap:
    """Measure the tests of the packages of mutants, in parallel.

    Raises:
        MutantsError: Tests fail without a mutant, or there are none.
    """
    started = time.monotonic()
    measured = CoverageMap()
    for some in workers.map(measure, tests_of(tree, sorted({package_of(mutant) for mutant in mutants}))):
        measured.update(some)
    if not measured.seconds:
        msg = "No tests are measured for these modules: choose some of a package that has a folder in tests/."
        raise MutantsError(msg)
    say(f"{len(measured.seconds)} tests measured in {time.monotonic() - started:.0f} s")
    return measured


def sources_of(tree: Path) -> dict[str, str]:
    """Return the texts of the tap's modules, by path."""
    paths = python_files(tree / PACKAGE)
    return {path.relative_to(tree).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def package_of(mutant: Mutant) -> str:
    """Return the package of the tap that a mutant is in."""
    return Path(mutant.path).relative_to(PACKAGE).parts[0]


def told(result: Result, tree: Path) -> list[str]:
    """Return the lines on a mutant: where it is, and what it changes."""
    mutant = result.mutant
    diff = mutant.diff((tree / mutant.path).read_text(encoding="utf-8"))
    unreached = "" if result.tests else ", no measured test reaches it"
    head = f"{mutant.path}:{mutant.line}: {result.outcome} ({mutant.kind}){unreached}"
    return [head, *(f"    {line}" for line in diff)]


def summarized(results: Sequence[Result]) -> float:
    """Print the counts of each module, and return the share that is not alive, in percent."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for result in results:
        counts[result.mutant.path][result.outcome] += 1
        counts["all"][result.outcome] += 1
    order = sorted(counts, key=lambda name: (name == "all", name))
    width = max(map(len, order), default=0)
    say(f"\n{'':{width}}  killed  timeout  survived")
    for name in order:
        count = counts[name]
        say(f"{name:{width}}  {count['killed']:6}  {count['timeout']:7}  {count['survived']:8}")
    share = 100 - 100 * counts["all"]["survived"] / max(1, len(results))
    mean = sum(result.seconds for result in results) / max(1, len(results))
    say(f"{share:.1f} % noticed, {mean:.1f} s of a processor per mutant")
    return share


def say(*lines: str) -> None:
    """Tell the user, without delay."""
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return what the user has asked for."""
    parser = argparse.ArgumentParser(prog="./run mutants", description=__doc__)
    parser.add_argument("--sample", type=int, default=100, metavar="N", help="how many mutants; 0: all (default: 100)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="which ones (default: 1)")
    parser.add_argument(
        "--module",
        action="append",
        metavar="PATH",
        help=f"a file or folder to mutate, any number of times (default: {', '.join(PACKAGES)})",
    )
    parser.add_argument("--workers", type=int, default=2, metavar="W", help="mutants at the same time (default: 2)")
    parser.add_argument(
        "--at-least", type=float, default=0, metavar="PERCENT", help="exit with 1 if fewer mutants are noticed"
    )
    parser.add_argument(
        "--timeout", type=float, default=30, metavar="SECONDS", help="how long tests may take at least (default: 30)"
    )
    parser.add_argument("--tree", type=Path, default=TREE, help="the tree to copy (default: this one)")
    options = parser.parse_args(arguments)
    options.tree = options.tree.resolve()
    options.module = options.module or [f"{PACKAGE}/{package}" for package in PACKAGES]
    return options


if __name__ == "__main__":
    sys.exit(main())
