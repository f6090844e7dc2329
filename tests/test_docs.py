"""The documentation site: built strictly, says what the code does, and leads nowhere that is not there."""

from __future__ import annotations

import json
import posixpath
import re
import runpy
import subprocess
import sys
from datetime import datetime, timezone
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import jsonschema
import pytest

from tap_vonage_reports import errors
from tap_vonage_reports.config.settings import CONFIG_JSONSCHEMA, Settings
from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.records.report_archive import check_header
from tap_vonage_reports.sandbox import Within
from tap_vonage_reports.state import format as state
from tap_vonage_reports.tap import TapVonageReports
from tests.harness import run_tap, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tap_vonage_reports.sandbox import Sandbox

ROOT = Path(__file__).parent.parent
VARIES = "…"
KEYS = {"api_key": "abcd1234", "api_secret": "nobodys-secret"}
START, END = datetime(2026, 11, 18, tzinfo=timezone.utc), datetime(2026, 11, 20, tzinfo=timezone.utc)


class Page(HTMLParser):
    """What a page of the site says, and where it leads.

    Attributes:
        text: Its words.
        blocks: What stands in its blocks of code.
        ids: The places on it that a link may lead to.
        links: Where its links lead.
        loads: What a browser gets of itself.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = ""
        self.blocks: list[str] = []
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self._inside = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.ids.add(given["id"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in ("link", "script", "img"):
            self.loads += [given[name] for name in ("href", "src") if name in given]
        if tag == "pre":
            self._inside = True
            self.blocks.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "pre":
            self._inside = False

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._inside:
            self.blocks[-1] += data


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Page]:
    """The pages by their paths, built as `./run docs` builds them."""
    folder = tmp_path_factory.mktemp("docs")
    strictly = runpy.run_path(str(ROOT / "run"))["STRICTLY"]
    command = [sys.executable, "-m", "sphinx", *strictly, "--quiet", f"--doctree-dir={folder / 'trees'}"]
    built = folder / "site"
    done = subprocess.run([*command, ROOT / "docs", built], capture_output=True, text=True, check=False)  # noqa: S603 - our own pages
    assert (done.returncode, done.stderr) == (0, "")
    return {path.relative_to(built).as_posix(): Page(path) for path in built.rglob("*.html")}


def test_every_stream_has_a_page_that_names_its_fields(site: dict[str, Page]) -> None:
    for product in PRODUCTS.values():
        page = site[f"streams/{product.stream}.html"]
        for name, spec in product.schema["properties"].items():
            assert name in page.text
            assert spec["description"] in page.text
        assert product.unsure[1:] in page.text


def test_the_record_on_the_page_of_a_stream_is_one_of_it(site: dict[str, Page]) -> None:
    for product in PRODUCTS.values():
        (block,) = site[f"streams/{product.stream}.html"].blocks
        record = json.loads(block)
        jsonschema.Draft7Validator(product.schema).validate(record)
        assert list(record) == list(product.schema["properties"])
        assert record[product.date_field]


def test_every_setting_has_a_place_to_link_to(site: dict[str, Page]) -> None:
    settings = dict(TapVonageReports.config_jsonschema)
    TapVonageReports.append_builtin_config(settings)
    named = {f"setting-{name}".replace("_", "-") for name in settings["properties"]}
    assert named <= site["settings.html"].ids


def test_every_type_of_error_is_explained(site: dict[str, Page]) -> None:
    page = site["operations.html"]
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.TapError):
            assert name.lower() in page.ids
            assert (kind.__doc__ or "").split()[0] in page.text


def fail(error: errors.TapError) -> None:
    raise error


@pytest.mark.parametrize(
    "act",
    [
        lambda: state.check_state([], PRODUCTS),
        lambda: state.check_state({"bookmarks": {"sms": {"partitions": [{"context": 1}]}}}, PRODUCTS),
        lambda: Settings.from_config({**KEYS, "personal_data": "hash"}, CONFIG_JSONSCHEMA),
        lambda: Settings.from_config({**KEYS, "api_url": "http://api.nexmo.com"}, CONFIG_JSONSCHEMA),
        lambda: TapVonageReports(catalog={"streams": 1}, validate_config=False),
        lambda: check_header(["name"]),
        lambda: fail(errors.PrefetchStorageError("No space left on device")),
        lambda: fail(errors.OutputError("No space left on device")),
        lambda: fail(errors.RateLimitedError("HTTP 429 Too Many Requests: the API key's rate limit is exhausted")),
    ],
)
def test_what_an_error_says_is_found_on_the_page(site: dict[str, Page], act: Callable[[], object]) -> None:
    with pytest.raises(errors.TapError) as caught:
        act()
    lines = [line.split(VARIES) for line in site["operations.html"].text.splitlines()]
    texts = [".+".join(map(re.escape, parts)) for parts in lines if any(map(str.strip, parts))]
    assert any(re.fullmatch(text, str(caught.value)) for text in texts)


def test_every_link_leads_somewhere(site: dict[str, Page]) -> None:
    for name, page in site.items():
        for link in page.links:
            parts = urlsplit(link)
            if not parts.scheme:
                goal = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(parts.path)))
                goal = goal if parts.path else name
                assert goal in site, (name, link)
                assert not parts.fragment or parts.fragment in site[goal].ids, (name, link)


def test_a_reader_asks_no_other_host_for_anything(site: dict[str, Page]) -> None:
    assert not [load for page in site.values() for load in page.loads if urlsplit(load).netloc]


# The page on the state


@pytest.fixture(scope="module")
def documented() -> str:
    return (ROOT / "docs" / "state.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def example(documented: str) -> dict[str, Any]:
    found = re.search(r":name: state-example\n\n(.*?)```", documented, re.DOTALL)
    assert found
    whole: dict[str, Any] = json.loads(found[1])
    return whole


def keys_of(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, part in value.items():
            if key.isidentifier():  # or else a time
                yield key
            yield from keys_of(part)
    elif isinstance(value, list):
        for part in value:
            yield from keys_of(part)


def test_the_page_on_the_state_explains_every_key_that_the_tap_knows(documented: str) -> None:
    texts = {text for name, text in vars(state).items() if name.isupper() and isinstance(text, str)}
    known = {text for text in texts if text.isidentifier()}
    assert known == set(re.findall(r"^\| `(\w+)`", documented, re.MULTILINE))


def test_the_example_on_the_page_is_a_state_of_this_tap(example: dict[str, Any]) -> None:
    state.check_state(example, PRODUCTS)
    (partition,) = example["bookmarks"]["sms"]["partitions"]
    read = state.read_partition(partition, "sms")
    assert all((read.until, read.covered, read.read_at, read.page, read.reports, read.tracked, read.open))


def test_the_example_on_the_page_has_every_key_that_a_run_writes(
    make_sandbox: Callable[..., Sandbox], example: dict[str, Any]
) -> None:
    sandbox = make_sandbox(rows={"sms/outbound": Within(150, START, END)}, page_size=5)
    dates = {"start_date": START.isoformat(), "end_date": END.isoformat()}
    paged = {"max_concurrent_requests": 1, "status_refresh": "ids"}
    narrowed = {"stream_options": {"sms": {"filters": {"direction": "outbound", "country": "GB"}}}}
    runs = [
        run_tap(settings_for(sandbox, **dates, **more), ["sms"]) for more in (paged, {"fetch_mode": "async"}, narrowed)
    ]
    written = set(keys_of([run.states for run in runs]))
    assert {"page", "reports", "query", "open"} <= written, "the runs show too little"
    assert written - set(state.SDK_MARKERS) <= set(keys_of(example))
