"""The command `./run chaos`: plays the stories of many seeds, several at once, and counts what it has seen."""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

from tests.chaos.play import outcome
from tests.chaos.story import Tally

REPEAT = "./run chaos --seeds {seed}"


def main() -> int:
    """Play the stories of the seeds that were asked for.

    Returns:
        1 when what users rely on did not hold in one of them, else 0.
    """
    parser = argparse.ArgumentParser(prog="./run chaos", description=__doc__)
    parser.add_argument(
        "--seeds", type=seeds, default=range(100), metavar="SEEDS", help="for example 17, 0-299 or 3,17,40-49; 0-99"
    )
    parser.add_argument("--workers", type=int, default=2, help="how many are played at once; 2")
    options = parser.parse_args()
    failed = []
    total, started = Tally(), time.monotonic()
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
        stories = {pool.submit(outcome, seed): seed for seed in options.seeds}
        for done, story in enumerate(as_completed(stories), start=1):
            seed, result = stories[story], story.result()
            if isinstance(result, str):
                failed.append(seed)
                said = f"{result}\nrepeat: {REPEAT.format(seed=seed)}"
            else:
                total += result
                said = "held"
            seconds = time.monotonic() - started
            sys.stdout.write(f"{seconds:,.0f} s: {done} of {len(stories)}: seed {seed}: {said}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{total}\n{len(stories)} stories, {len(failed)} failed {sorted(failed) or ''}, ")
    sys.stdout.write(f"{time.monotonic() - started:,.0f} s\n")
    return 1 if failed else 0


def seeds(text: str) -> list[int]:
    """Seeds by their numbers and ranges."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


if __name__ == "__main__":
    sys.exit(main())
