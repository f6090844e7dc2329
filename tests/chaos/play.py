"""Plays the story of a seed, and checks what users rely on."""

from __future__ import annotations

import tempfile
import traceback
from contextlib import ExitStack
from pathlib import Path

from tap_vonage_reports.sandbox import Sandbox
from tests.chaos.invariants import AFTER_EACH_RUN, AT_THE_END
from tests.chaos.plans import NOW, SUBACCOUNT, plan_of
from tests.chaos.story import Story, Tally


def play(seed: int) -> Tally:
    """Play the story of a seed.

    Raises:
        AssertionError: Something did not hold.
    """
    plan = plan_of(seed)
    sandbox = Sandbox(
        seed=f"chaos-{seed}",
        api_secret=plan.secret,
        subaccount_keys=[SUBACCOUNT],
        rows=plan.rows,
        clock=NOW,
        faults=["no-rate-limit"],
        page_size=plan.page_size,
        generation_seconds=plan.generation_seconds,
    )
    for fault, value in plan.quirks.items():
        sandbox.faults.on(fault, value)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        story = Story(plan, stack.enter_context(sandbox), folder)
        for number, run in enumerate(plan.runs):
            happened = story.run(number, run)
            for check in AFTER_EACH_RUN:
                check(story, happened)
        ended = happened.ended
        assert ended.code == 0, f"undisturbed, it exits with {ended.code}:\n{ended.end_of_log}"
        for check_all in AT_THE_END:
            check_all(story)
        story.tally.rows = sum(len(listed[-1]) for listed in story.listed.values())
        return story.tally


def outcome(seed: int) -> Tally | str:
    """What the story of a seed has seen, or what did not hold in it, or broke it off."""
    try:
        return play(seed)
    except AssertionError as violation:
        return str(violation)
    except Exception:  # noqa: BLE001 - the other stories go on
        return traceback.format_exc()
