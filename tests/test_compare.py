"""The comparison of two revisions finds what differs, and takes nothing for a difference that is only timing."""

from __future__ import annotations

import json
import shutil
import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest

if sys.platform == "win32":
    pytest.skip("Windows has no signals to kill with", allow_module_level=True)

from benchmarks.compare import PACKAGE, REQUESTS, ROOT, Outcome, compare, excerpts, first_difference, judge, shape
from benchmarks.measure import BenchError
from benchmarks.scenarios import Scenario, Tap, days

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.compare import Verdict

STATE = "last STATEs"


def outcome(state: str = "a", order: str = "a", error: str = "") -> Outcome:
    return Outcome({STATE: [state], REQUESTS: [order]}, {}, 1.0, error)


def verdict_of(befores: list[Outcome], afters: list[Outcome], ordered: frozenset[str] = frozenset()) -> Verdict:
    return judge(Scenario("some", lambda _: None, ordered=ordered), befores, afters)


def tap(name: str, tree: Path, folder: Path) -> Tap:
    home = folder / name
    home.mkdir()
    return Tap(name, tree, home)


def test_a_planted_difference_is_found_and_nothing_else(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / PACKAGE, tree / PACKAGE)
    path = tree / PACKAGE / "schemas" / "amd.json"
    schema = json.loads(path.read_text("utf-8"))
    first, *others = schema["properties"].items()
    path.write_text(json.dumps({**schema, "properties": dict([*others, first])}), "utf-8")
    scenarios = [
        Scenario(stream, partial(days, count=1, streams=[stream], fetch_mode="sync"), {"rows": {"*": 0, stream: 12}})
        for stream in ("amd", "verify_v2")
    ]
    folder = tmp_path / "folder"
    folder.mkdir()
    taps = [tap("before", ROOT, tmp_path), tap("after", tree, tmp_path)]
    verdicts = dict(compare(taps[0], taps[1], scenarios, folder))
    assert verdicts["verify_v2"].word == "same"
    assert verdicts["amd"].word == "different"
    assert verdicts["amd"].lines[0].startswith("records, schemas, messages by stream")
    assert verdicts["amd"].before.counts["record"] == 36
    assert not list(folder.iterdir())


def test_the_tap_of_another_tree_is_never_compared(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="would not be imported from the tree under test"):
        tap("other", tmp_path, tmp_path).discovered()


def test_an_order_that_varies_is_no_difference() -> None:
    other = outcome(order="b")
    assert verdict_of([outcome(), outcome()], [outcome()]).word == "same"
    assert verdict_of([outcome(), other], [other]).varying == [REQUESTS]
    assert verdict_of([outcome(), other], [outcome(order="c")]).word == "same"
    assert verdict_of([outcome(), outcome(), outcome()], [other, outcome(order="c")]).word == "same"
    assert verdict_of([outcome(), outcome(), outcome()], [other, other]).word == "different"


def test_an_order_that_must_not_vary_is_a_difference() -> None:
    ordered = frozenset({"requests"})
    other = outcome(order="b")
    assert verdict_of([outcome(), other], [outcome()], ordered=ordered).word == "unstable"
    assert verdict_of([outcome(), outcome()], [other, outcome()], ordered=ordered).word == "different"


def test_output_that_differs_once_is_a_difference() -> None:
    verdict = verdict_of([outcome(), outcome()], [outcome(), outcome("b")])
    assert verdict.word == "different"
    assert verdict.lines == [STATE, f"{STATE}, line 1", "  before: a", "  after:  b"]
    assert verdict_of([outcome(), outcome("b")], [outcome()]).word == "unstable"
    assert verdict_of([outcome(), outcome()], [outcome(error="it broke")]).lines == ["after: it broke"]
    assert verdict_of([outcome(), outcome(error="it broke")], [outcome()]).word == "failed"


def test_the_first_difference_is_shown() -> None:
    assert first_difference(["a", "b"], ["a", "c"]) == (2, "b", "c")
    assert first_difference(["a"], ["a", "b"]) == (2, "(nothing)", "b")
    assert excerpts("x" * 100 + "old\ud800", "x" * 100 + "new") == (f"...{'x' * 60}old\\ud800", f"...{'x' * 60}new")


def test_the_shape_of_a_state_has_no_values() -> None:
    assert list(shape({"a": [{"b": 1}, {"b": None}], "c": {}})) == [
        "value.a[].b: int",
        "value.a[].b: NoneType",
        "value.c: dict",
    ]
