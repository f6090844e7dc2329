"""A window is read to its end, whatever the API says of its pages, and never for ever."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tap_vonage_reports.errors import PaginationError, ProductUnavailableError, RequestRejectedError
from tap_vonage_reports.extract.pages.pagination import iter_pages
from tap_vonage_reports.sandbox import Fault, Sandbox
from tests.extract.test_page_commits import DAY, open_partition, row
from tests.harness import Output, run_tap, settings_for
from tests.planning.test_windows import at

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Literal, so that another figure in the code is noticed.
MAX_PAGES_WITHOUT_NEW_ROWS = 20
DAY_OF_AMD = {"start_date": "2026-11-18", "end_date": "2026-11-19", "max_concurrent_requests": 1}


def read_day(sandbox: Sandbox, state: Mapping[str, Any] | None = None) -> Output:
    return run_tap(settings_for(sandbox, **DAY_OF_AMD), ["amd"], state)


def requests_for_rows(sandbox: Sandbox) -> int:
    return sum(entry.product == "AMD" for entry in sandbox.requests.log)


class Pages:
    """An API whose pages are given by their cursors; an exception in place of a page is raised."""

    def __init__(self, pages: Mapping[str, dict[str, Any] | Exception]) -> None:
        self.pages = pages
        self.asked: list[str] = []

    def records(self, params: Mapping[str, str], context: object) -> Any:
        assert context
        self.asked.append(params.get("cursor", ""))
        page = self.pages[self.asked[-1]]
        if isinstance(page, Exception):
            raise page
        return SimpleNamespace(body=page, at=at(100))


def body(*names: str, cursor: str = "", status: str = "SUCCESS") -> dict[str, Any]:
    return {"records": [row(name) for name in names], "request_status": status, "cursor": cursor, "iv": "iv"}


def walk(pages: Mapping[str, dict[str, Any] | Exception]) -> tuple[list[Any], list[str]]:
    api: Any = Pages(pages)
    return list(iter_pages(api, open_partition().query, DAY)), api.asked


# SUCCESS with a cursor


@pytest.mark.promise("Nothing is lost. The bookmark only moves over time that was read completely.")
@pytest.mark.parametrize("value", ["", "empty", "again", "refused"])
def test_a_page_that_says_success_and_has_a_cursor_is_followed_while_rows_come(
    make_sandbox: Callable[..., Sandbox], value: str
) -> None:
    sandbox = make_sandbox(rows={"amd": 12}, page_size=3)
    sandbox.faults.on(Fault.SUCCESS_WITH_CURSOR, value)
    output = read_day(sandbox)
    assert output.code == 0, output.error
    assert sorted(output.ids("amd")) == sorted({f"{one['id']}" for one in truth(sandbox)})
    assert len(output.ids("amd")) == 12
    assert output.bookmark("amd")["covered"] == [["2026-11-18T00:00:00+00:00", "2026-11-19T00:00:00+00:00"]]
    assert requests_for_rows(sandbox) == 4 + bool(value)
    assert output.log.count("leads to further rows") == 1
    assert output.log.count("that it rejects") == (value == "refused")


def truth(sandbox: Sandbox) -> list[dict[str, Any]]:
    start, end = (sandbox.clock.now().replace(day=day, hour=0) for day in (18, 19))
    return sandbox.expected("amd", None, None, start, end)


def test_an_answer_that_cannot_be_used_behind_success_is_an_error_and_not_the_end(
    make_sandbox: Callable[..., Sandbox],
) -> None:
    sandbox = make_sandbox(rows={"amd": 12}, page_size=1000)
    sandbox.faults.on(Fault.SUCCESS_WITH_CURSOR, "empty")
    sandbox.faults.on(Fault.SERVER_ERROR, after=1, products=["amd"])
    output = read_day(sandbox)
    assert output.code == 1
    assert "covered" not in output.bookmark("amd")


def test_no_cursor_that_leads_nowhere_gets_into_the_state(make_sandbox: Callable[..., Sandbox]) -> None:
    sandbox = make_sandbox(rows={"amd": 12}, page_size=3)
    sandbox.faults.on(Fault.SUCCESS_WITH_CURSOR, "refused")
    assert not any("page" in state["bookmarks"]["amd"]["partitions"][0] for state in read_day(sandbox).states[-1:])
    pages, asked = walk({"": body("a", cursor="x"), "x": RequestRejectedError(422, "No")})
    assert ([page.cursor for page in pages], asked) == ([None], ["", "x"])


@pytest.mark.parametrize(
    "error",
    [ProductUnavailableError(422, "Unknown product"), RequestRejectedError(403, "No"), RequestRejectedError(401, "No")],
)
def test_a_refusal_that_is_not_about_the_cursor_is_an_error(error: Exception) -> None:
    with pytest.raises(RequestRejectedError):
        walk({"": body("a", cursor="x"), "x": error})


def test_an_empty_page_that_says_success_is_the_last_whatever_cursor_it_has() -> None:
    pages, asked = walk({"": body(cursor="x")})
    assert (len(pages), pages[0].is_last, asked) == (1, True, [""])


def test_rows_that_come_again_behind_success_are_counted_and_not_written() -> None:
    pages, asked = walk({"": body("a", "b", cursor="x"), "x": body("a", "b", cursor="y", status="TRUNCATED")})
    assert [(len(page.records), page.repeated, page.is_last) for page in pages] == [(2, 2, True)]
    assert asked == ["", "x"]


@pytest.mark.parametrize("length", [1, 2, 5, 9])
def test_success_with_cursors_in_a_circle_ends_after_one_round(length: int) -> None:
    """The rows of a circle longer than the pages whose rows are remembered are known by their page."""
    numbers = itertools.count()

    class Circle(Pages):
        def records(self, params: Mapping[str, str], context: object) -> Any:
            assert context
            number = int(params.get("cursor", "0"))
            return SimpleNamespace(body=body(f"row {number % length}", cursor=str(number + 1)), at=at(next(numbers)))

    api: Any = Circle({})
    pages = list(iter_pages(api, open_partition().query, DAY))
    assert [one["id"] for page in pages for one in page.records] == [f"row {number}" for number in range(length)]


# Pages without end


@pytest.mark.parametrize("value", ["", "again"])
def test_pages_without_a_new_row_end_the_window_as_failed(make_sandbox: Callable[..., Sandbox], value: str) -> None:
    sandbox = make_sandbox(rows={"amd": 12}, page_size=3)
    sandbox.faults.on(Fault.ENDLESS_PAGES, value, after=1)
    output = read_day(sandbox)
    assert output.code == 1
    assert f"{MAX_PAGES_WITHOUT_NEW_ROWS} pages in a row without a new row" in str(output.error)
    assert requests_for_rows(sandbox) <= MAX_PAGES_WITHOUT_NEW_ROWS + 2
    assert "covered" not in output.bookmark("amd")


@pytest.mark.parametrize("value", ["", "again"])
def test_some_pages_without_a_new_row_are_read_past(make_sandbox: Callable[..., Sandbox], value: str) -> None:
    sandbox = make_sandbox(rows={"amd": 12}, page_size=3)
    sandbox.faults.on(Fault.ENDLESS_PAGES, value, after=1, first=MAX_PAGES_WITHOUT_NEW_ROWS - 1)
    output = read_day(sandbox)
    assert output.code == 0, output.error
    assert sorted(output.ids("amd")) == sorted(one["id"] for one in truth(sandbox))


def truncated(*pages: tuple[str, ...], last: str = "last") -> dict[str, dict[str, Any]]:
    """Pages of these rows, one after the other, and a last one."""
    bodies = [body(*names, cursor=f"{number}", status="TRUNCATED") for number, names in enumerate(pages, start=1)]
    return {f"{number or ''}": one for number, one in enumerate([*bodies, body(last)])}


@pytest.mark.parametrize(("barren", "is_read"), [(19, True), (20, False)])
def test_a_window_fails_at_its_twentieth_page_in_a_row_without_a_new_row(barren: int, *, is_read: bool) -> None:
    pages = truncated(("a",), *[()] * barren, ("b",), *[()] * 19)
    if is_read:
        assert [one["id"] for page in walk(pages)[0] for one in page.records] == ["a", "b", "last"]
    else:
        with pytest.raises(PaginationError, match="20 pages in a row without a new row"):
            walk(pages)


def test_rows_already_seen_on_the_last_three_pages_are_dropped() -> None:
    pages, _ = walk(truncated(("a",), ("b",), ("c",), ("a", "d"), ("e",), ("f",), ("g",), ("d",)))
    found = [[one["id"] for one in page.records] for page in pages]
    assert found == [["a"], ["b"], ["c"], ["d"], ["e"], ["f"], ["g"], ["d"], ["last"]]
    assert [page.repeated for page in pages] == [0, 0, 0, 1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("field", ["cursor", "iv"])
def test_a_cursor_longer_than_an_address_may_be_fails_its_window(field: str) -> None:
    longest = "x" * 16384
    first = {**body("a", cursor="next", status="TRUNCATED"), field: longest}
    pages, asked = walk({"": first, first["cursor"]: body("b")})
    assert (len(pages), asked) == (2, ["", first["cursor"]])
    with pytest.raises(PaginationError, match="too long to send back"):
        walk({"": {**first, field: f"{longest}x"}})


@pytest.mark.parametrize("cursor", [5, True, ["x"], {"x": 1}, None, ""], ids=str)
def test_a_cursor_that_is_no_text_is_none(cursor: object) -> None:
    with pytest.raises(PaginationError, match="no cursor"):
        walk({"": {**body("a", status="TRUNCATED"), "cursor": cursor}})


def test_a_circle_of_old_rows_ends_the_window_as_failed() -> None:
    pages = {str(number): body(f"row {number % 7}", cursor=str(number + 1), status="TRUNCATED") for number in range(99)}
    pages[""] = body("row", cursor="0", status="TRUNCATED")
    with pytest.raises(PaginationError, match="without a new row"):
        walk(pages)
