"""The documentation site builds without warnings, matches the code, and has no dead links."""

from __future__ import annotations

import ast
import builtins
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

from docs.messages import error_messages, error_types, log_messages
from tap_vonage_reports import errors
from tap_vonage_reports.config.schema import CONFIG_JSONSCHEMA
from tap_vonage_reports.config.settings import Settings
from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.records.csv_rows import check_header
from tap_vonage_reports.sandbox import Within
from tap_vonage_reports.state import format as state
from tap_vonage_reports.state import report_limits, volume
from tap_vonage_reports.state.validation import check_state
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
    """A page of the site.

    Attributes:
        text: Its text.
        blocks: The content of its code blocks.
        ids: Its anchors.
        links: The targets of its links.
        loads: The files that a browser loads with it.
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
    """The pages by path, built as `./run docs` builds them."""
    folder = tmp_path_factory.mktemp("docs")
    strictly = runpy.run_path(str(ROOT / "run"))["STRICTLY"]
    command = [sys.executable, "-m", "sphinx", *strictly, "--quiet", f"--doctree-dir={folder / 'trees'}"]
    built = folder / "site"
    done = subprocess.run([*command, ROOT / "docs", built], capture_output=True, text=True, check=False)  # noqa: S603 - our own pages
    assert (done.returncode, done.stderr) == (0, "")
    return {path.relative_to(built).as_posix(): Page(path) for path in built.rglob("*.html")}


def test_stream_pages_describe_every_field(site: dict[str, Page]) -> None:
    for product in PRODUCTS.values():
        page = site[f"streams/{product.stream}.html"]
        for name, spec in product.schema["properties"].items():
            assert name in page.text
            assert spec["description"] in page.text
        assert product.unsure in page.text


def test_example_record_fits_its_stream(site: dict[str, Page]) -> None:
    for product in PRODUCTS.values():
        (block,) = site[f"streams/{product.stream}.html"].blocks
        record = json.loads(block)
        jsonschema.Draft7Validator(product.schema).validate(record)
        assert list(record) == list(product.schema["properties"])
        assert record[product.date_field]


def test_every_setting_has_an_anchor(site: dict[str, Page]) -> None:
    settings = dict(TapVonageReports.config_jsonschema)
    TapVonageReports.append_builtin_config(settings)
    named = {f"setting-{name}".replace("_", "-") for name in settings["properties"]}
    assert named <= site["settings.html"].ids


def test_every_error_type_is_explained(site: dict[str, Page]) -> None:
    page = site["errors.html"]
    for kind in {message.kind for message in error_messages()}:
        assert kind.__name__.lower() in page.ids
        assert plain((kind.__doc__ or "").partition(".")[0]) in plain(page.text)


def fail(error: errors.TapError) -> None:
    raise error


@pytest.mark.parametrize(
    "act",
    [
        lambda: check_state([], PRODUCTS),
        lambda: check_state({"bookmarks": {"sms": {"partitions": [{"context": 1}]}}}, PRODUCTS),
        lambda: Settings.from_config({**KEYS, "personal_data": "hash"}, CONFIG_JSONSCHEMA),
        lambda: Settings.from_config({**KEYS, "api_url": "http://api.nexmo.com"}, CONFIG_JSONSCHEMA),
        lambda: TapVonageReports(catalog={"streams": 1}, validate_config=False),
        lambda: check_header(["name"]),
        lambda: fail(errors.PrefetchStorageError("No space left on device")),
        lambda: fail(errors.OutputError("No space left on device")),
        lambda: fail(errors.RateLimitedError("HTTP 429 Too Many Requests: the API key's rate limit is exhausted")),
    ],
)
def test_error_message_is_on_the_site(site: dict[str, Page], act: Callable[[], object]) -> None:
    with pytest.raises(errors.TapError) as caught:
        act()
    lines = [line.split(VARIES) for line in site["errors.html"].text.splitlines()]
    texts = [".+".join(map(re.escape, parts)) for parts in lines if any(map(str.strip, parts))]
    assert any(re.fullmatch(text, str(caught.value)) for text in texts)


# Errors and log lines: the tests find them in the code in another way than the site does, and compare


def tap_sources() -> dict[str, str]:
    """The tap's modules by path in the package, without the sandbox, which is another program."""
    package = ROOT / "tap_vonage_reports"
    paths = {path.relative_to(package).as_posix(): path for path in package.rglob("*.py")}
    return {name: path.read_text(encoding="utf-8") for name, path in paths.items() if not name.startswith("sandbox/")}


def nodes_of(sources: dict[str, str]) -> Iterator[tuple[str, ast.AST]]:
    for path, source in sources.items():
        yield from ((path, node) for node in ast.walk(ast.parse(source)))


def names_in(node: ast.AST) -> set[str]:
    """The names that a callee consists of; none if it is itself the result of a call."""
    nodes = [] if isinstance(node, ast.Call) else list(ast.walk(node))
    return {getattr(part, "attr", getattr(part, "id", "")) for part in nodes}


def log_sites(sources: dict[str, str]) -> set[str]:
    call = re.compile(r"\b_?(?i:log(?:ger)?)\.(?:debug|info|warn|warning|error|critical|exception|log)\(")
    lines = ((path, number, line) for path, text in sources.items() for number, line in enumerate(text.splitlines(), 1))
    return {f"{path}:{number}" for path, number, line in lines if call.search(line)}


def error_sites(sources: dict[str, str]) -> tuple[set[str], set[str]]:
    """Where a `TapError` is made, and where one is raised that a function of the tap returns."""
    nodes = list(nodes_of(sources))
    tap_errors = {kind.__name__ for kind in error_types()}
    functions = {node.name: node for _, node in nodes if isinstance(node, ast.FunctionDef)}
    classes = {node.name for _, node in nodes if isinstance(node, ast.ClassDef)} - tap_errors
    others = {*vars(builtins), *classes, "ArrowInvalid"}
    made, raised = set(), set()
    for path, node in nodes:
        if isinstance(node, ast.Call) and names_in(node.func) & tap_errors:
            made.add(f"{path}:{node.lineno}")
        elif isinstance(node, ast.Raise) and isinstance(call := node.exc, ast.Call):
            found = names_in(call.func) & functions.keys()
            returned = {ast.unparse(functions[name].returns or ast.Constant(None)) for name in found}
            if returned and not returned & others:
                raised.add(f"{path}:{call.lineno}")
            elif not found and not names_in(call.func) & others:
                made.add(f"{path}:{call.lineno}")  # of a type that a variable holds
    return made, raised


def sentences(node: ast.AST | None, source: ast.AST) -> list[str]:
    """What of an expression is written out, the local name `msg` followed to the assignment above it."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=parts) | ast.List(elts=parts):
            return [text for part in parts for text in sentences(part, source)]
        case ast.Name(id="msg", lineno=line):
            values = [
                (part.lineno, part.value)
                for part in ast.walk(source)
                if isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == "msg" and part.lineno < line
            ]
            return sentences(max(values, key=lambda value: value[0])[1], source)
    return []


def plain(text: str) -> str:
    """A text without its markup and its breaks of lines."""
    return " ".join(re.sub(r"[`*\\]", "", text).split())


def missing_from(page: Page, sites: set[str], sources: dict[str, str]) -> list[tuple[str, str]]:
    """The parts of texts at these sites that are not on the page."""
    shown = plain(page.text)
    return [
        (site, part)
        for path, source in sources.items()
        for tree in [ast.parse(source)]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and (site := f"{path}:{node.lineno}") in sites
        for argument in [*node.args, *(keyword.value for keyword in node.keywords)]
        for text in sentences(argument, tree)
        for part in map(plain, re.split(r"%[-+ #0]*\d*(?:\.\d+)?[a-z]", text))
        if sum(map(str.isalpha, part)) > 3 and part not in shown
    ]


def test_every_log_line_of_the_tap_is_on_the_site(site: dict[str, Page]) -> None:
    sources = tap_sources()
    sites = log_sites(sources)
    assert len(sites) > 20
    assert {message.site for message in log_messages()} == sites
    assert missing_from(site["errors.html"], sites, sources) == []


def test_every_error_of_the_tap_is_on_the_site(site: dict[str, Page]) -> None:
    sources = tap_sources()
    made, raised = error_sites(sources)
    assert len(made) > 40
    assert made - {message.site for message in error_messages()} == set()
    assert missing_from(site["errors.html"], made | raised, sources) == []


def test_errors_that_list_several_problems_stand_under_their_own_type() -> None:
    texts = {
        message.kind: message.text for message in error_messages() if "partitions could not be read" in message.text
    }
    assert list(texts) == [errors.SyncFailedError]


def test_log_lines_say_what_varies_in_words() -> None:
    texts = {message.text for message in log_messages() if any(map(str.isalpha, message.text))}
    assert "<partition>: skipped. <reason>" in texts
    assert len([text for text in texts if VARIES in text]) < len(texts) / 10


def test_every_problem_with_settings_is_on_the_site(site: dict[str, Page]) -> None:
    sources = {path: source for path, source in tap_sources().items() if path == "config/validation.py"}
    yielded = [node.value for _, node in nodes_of(sources) if isinstance(node, ast.Yield)]
    texts = [text for value in yielded for text in sentences(value, ast.Module([], []))]
    assert len(yielded) > 20
    assert [text for text in texts if plain(text) not in plain(site["errors.html"].text)] == []


def test_every_error_type_that_is_raised_has_a_text_on_the_site() -> None:
    bases = {base for kind in error_types() for base in kind.__bases__}
    assert {kind for kind in error_types() if kind not in bases} <= {message.kind for message in error_messages()}


def test_messages_of_the_sandbox_are_not_on_the_site() -> None:
    sites = {message.site for message in error_messages()} | {message.site for message in log_messages()}
    assert [site for site in sites if site.startswith("sandbox")] == []


def test_no_link_is_dead(site: dict[str, Page]) -> None:
    for name, page in site.items():
        for link in page.links:
            parts = urlsplit(link)
            if not parts.scheme:
                goal = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(parts.path)))
                goal = goal if parts.path else name
                assert goal in site, (name, link)
                assert not parts.fragment or parts.fragment in site[goal].ids, (name, link)


def test_site_loads_nothing_from_other_hosts(site: dict[str, Page]) -> None:
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


def test_state_page_explains_every_key(documented: str) -> None:
    named = {**vars(state), **vars(report_limits), **vars(volume)}
    texts = {text for name, text in named.items() if name.isupper() and isinstance(text, str)}
    known = {text for text in texts if text.isidentifier()}
    assert known == set(re.findall(r"^\| `(\w+)`", documented, re.MULTILINE))


def test_state_example_is_valid(example: dict[str, Any]) -> None:
    check_state(example, PRODUCTS)
    (partition,) = example["bookmarks"]["sms"]["partitions"]
    read = state.read_partition(partition, "sms")
    assert all(
        (read.until, read.covered, read.read_at, read.page, read.reports, read.tracked, read.pending_ids, read.gaps)
    )
    assert read.max_page_window


def test_state_example_has_every_key_that_runs_write(
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
