"""Sphinx extension that generates pages from the code: settings, streams, errors and log lines.

It writes them to the folder of the other pages before Sphinx reads that. Git ignores them.
"""

from __future__ import annotations

import inspect
import re
from copy import deepcopy
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import asdict
from singer_sdk.contrib.msgspec import encoder

from docs.install import clone_lines, install_lines
from docs.messages import error_texts, error_types, log_texts
from docs.source import says_something
from tap_vonage_reports.config.schema import CONFIG_JSONSCHEMA, ENVIRONMENT_PREFIX
from tap_vonage_reports.errors import ApiError, FatalApiError, TapError
from tap_vonage_reports.products import PRODUCTS, Product
from tap_vonage_reports.records.parser import RecordParser
from tap_vonage_reports.sandbox import Sandbox
from tap_vonage_reports.sandbox.account_api import account_fields
from tap_vonage_reports.sandbox.accounts import subaccounts
from tap_vonage_reports.sources import ACCOUNTS, SOURCES
from tap_vonage_reports.tap import TapVonageReports

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sphinx.application import Sphinx

    from tap_vonage_reports.sources import Dimension, Source

EXAMPLES_UNTIL = datetime(2026, 11, 10, 12, tzinfo=timezone.utc)
EXAMPLES_SINCE = EXAMPLES_UNTIL - timedelta(hours=6)
EXAMPLES_SEEN = EXAMPLES_UNTIL + timedelta(days=10)
"""The sandbox's clock for the examples: late enough for every row to be final."""

WORDS = {"object": "object (JSON)", "date-time": "date and time", "array": "list"}
"""Words for types of JSON Schema whose own name is not plain."""

MIN_SHARED = 5
"""From this many messages on, an ending that all of them share is shown once."""

SOURCE_MARK = re.compile(r"\s\[(?:confirmed|likely|unknown)\]")
"""A mark in the code that says how certain a fact about the API is."""

GENERATED = ("generated", "streams")
"""The folders that contain only generated pages."""


def pages() -> dict[str, str]:
    """Return the pages and parts of pages as Markdown, by path."""
    return {
        "generated/clone.md": _text(clone_lines()),
        "generated/install.md": _text(install_lines()),
        "generated/settings.md": _text(_settings()),
        "generated/errors.md": _text(_errors()),
        "generated/log.md": _text(_log_lines()),
        "streams/index.md": _text(_streams()),
        **{
            f"streams/{product.stream}.md": _text(_stream(product, _facts(product), _example(product)))
            for product in PRODUCTS.values()
        },
        f"streams/{ACCOUNTS.stream}.md": _text(_stream(ACCOUNTS, _facts_of_dimension(ACCOUNTS), _example_account())),
    }


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the generation of the pages with Sphinx."""
    app.connect("builder-inited", lambda app: write(Path(app.srcdir)))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write(folder: Path) -> None:
    """Write the pages that have changed, and remove those that no longer exist.

    Args:
        folder: The folder of the other pages.
    """
    generated = {folder / path: text for path, text in pages().items()}
    for path in [path for name in GENERATED for path in (folder / name).glob("*.md")]:
        if path not in generated:
            path.unlink()
    for path, text in generated.items():
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Escape what Markdown or a table would interpret."""
    return re.sub(r"([|<*]|_(?=_)|(?<=_)_)", r"\\\1", text)


def _codes(names: Iterable[str], otherwise: str = "none") -> str:
    return ", ".join(f"`{name}`" for name in names) or otherwise


def _table(head: Iterable[str], rows: Iterable[Iterable[str]], kind: str) -> Iterator[str]:
    """Yield a table. On a narrow screen, kind ``stacked`` puts the cells of a row below each other (site.css)."""
    names = list(head)
    yield ":::{table}"
    yield f":class: {kind}"
    yield ""
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ":::"
    yield ""


# Settings


def _settings() -> Iterator[str]:
    schema = deepcopy(CONFIG_JSONSCHEMA)
    TapVonageReports.append_builtin_config(schema)
    yield "## Settings of the tap"
    for name, spec in CONFIG_JSONSCHEMA["properties"].items():
        description = _plain(spec["description"]).replace("the table of streams", "[the streams](streams/index.md)")
        yield from _setting(name, spec, description)
    yield "## Settings of the Singer SDK"
    yield ""
    yield "Every tap built with the SDK has these settings. They work the same in all of them."
    yield ""
    for name, spec in schema["properties"].items():
        if name not in CONFIG_JSONSCHEMA["properties"]:
            yield from _setting(name, spec, spec["description"])


def _setting(name: str, spec: Mapping[str, Any], description: str) -> Iterator[str]:
    kind = _kind(spec)
    facts = [kind]
    if name in CONFIG_JSONSCHEMA["required"]:
        facts.append("**required**")
    if spec.get("secret"):
        facts.append("secret: redacted in the log")
    yield f"(setting-{name})="
    yield f"### `{name}`"
    yield ""
    yield description
    yield ""
    yield f":Type: {', '.join(facts)}"
    if "default" in spec:
        default = spec["default"]
        yield f":Default: `{default if isinstance(default, str) else msgspec.json.encode(default).decode()}`"
    if limits := _limits(spec):
        yield f":Values: {limits}"
    yield f":Variable: `{ENVIRONMENT_PREFIX}{name.upper()}`"
    if name in CONFIG_JSONSCHEMA["properties"]:
        parts = list(_parts(name, spec))
        if parts:
            yield ""
            yield from _table(("Part", "Type", "Values"), parts, "stacked fields")
    yield ""


def _kind(spec: Mapping[str, Any]) -> str:
    kinds = [spec["type"]] if isinstance(spec["type"], str) else spec["type"]
    kind = str(spec.get("format") or next(kind for kind in kinds if kind != "null"))
    return WORDS.get(kind, kind)


def _limits(spec: Mapping[str, Any]) -> str:
    """Return the limits of a value in words."""
    if "enum" in spec:
        return _codes(filter(None, spec["enum"]))
    words = {"minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most"}
    return ", ".join(f"{word} {spec[key]}" for key, word in words.items() if key in spec)


def _parts(path: str, spec: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield path, type and limits of the innermost parts of an object."""
    inner = dict(spec.get("properties", {}))
    more = spec.get("additionalProperties")
    if isinstance(more, dict):
        inner["<name>"] = more
    for name, part in inner.items():
        inside = f"{path}.{name}"
        yield from list(_parts(inside, part)) or [(f"`{inside}`", _kind(part), _limits(part) or "any")]


# Streams


def _streams() -> Iterator[str]:
    yield "# Streams"
    yield ""
    yield (
        "One stream per product of the API, and one of the accounts. The key of a product's stream is `id`. Each page "
        "shows the stream's bookmark, lookback and filters, its fields with their types, and a record."
    )
    yield ""
    rows = (
        (f"[`{product.stream}`]({product.stream}.md)", f"{product.name}: {_plain(product.schema['description'])}")
        for product in PRODUCTS.values()
    )
    accounts = f"[`{ACCOUNTS.stream}`]({ACCOUNTS.stream}.md)", f"{ACCOUNTS.title}: {ACCOUNTS.schema['description']}"
    yield from _table(("Stream", "Product and content"), [*rows, accounts], "stacked")
    yield "```{toctree}"
    yield ":hidden:"
    yield ""
    yield from SOURCES
    yield "```"


def _stream(source: Source, facts: Iterable[tuple[str, str]], example: Mapping[str, Any]) -> Iterator[str]:
    schema = source.schema
    yield f"(stream-{source.stream})="
    yield f"# `{source.stream}`"
    yield ""
    yield _plain(schema["description"])
    yield ""
    yield from _table(("Property", "Value"), facts, "facts")
    if source.unsure:
        yield ":::{admonition} Open questions"
        yield ":class: warning"
        yield _plain(source.unsure)
        yield ":::"
        yield ""
    yield "## Fields"
    yield ""
    rows = ((f"`{name}`", _kind(spec), _meaning(name, spec, source)) for name, spec in schema["properties"].items())
    yield from _table(("Field", "Type", "Meaning"), rows, "stacked fields")
    yield "All fields except the key may be null. Records have the fields in this order."
    yield ""
    yield "## Example record"
    yield ""
    yield (
        "From the [sandbox](../guide.md#try-it-without-an-account). The account, people and numbers are fictitious. "
        "The numbers are from ranges reserved for fiction."
    )
    yield ""
    yield "```json"
    yield msgspec.json.format(encoder.encode(example), indent=2).decode()
    yield "```"


def _facts_of_dimension(dimension: Dimension) -> Iterator[tuple[str, str]]:
    yield (
        "Source",
        "[Subaccounts API](https://developer.vonage.com/en/api/subaccounts): one request per run",
    )
    yield "Key", f"`{dimension.key_field}`"
    yield "Bookmark", "none: every run reads all rows"
    yield "Partitions", "none"
    yield "Selected by default", "with [`include_subaccounts`](#setting-include_subaccounts)"
    yield "If the API is not enabled", "HTTP 403: the stream is skipped with a warning"


def _facts(product: Product) -> Iterator[tuple[str, str]]:
    yield "Product", product.name
    yield "Key", f"`{product.key_field}`"
    yield "Date field (bookmark)", f"`{product.date_field}`"
    yield "Partitions", f"account{', direction' if product.directions else ''}"
    yield "Directions", ", ".join(product.directions) or "none"
    yield (
        "Lookback",
        f"{product.lookback_hours:g} hours; see [`lookback_hours`](#setting-lookback_hours)",
    )
    yield "Retention at Vonage", str(product.retention)
    yield "Selected by default", "yes" if product.selected else "no"
    yield "Filters (pages)", _codes(product.sync_filters)
    yield "Filters (reports)", _codes(product.async_filters)
    if product.include_message:
        yield "Message text", "with [`include_message`](#setting-include_message)"
    for direction, final in product.final.items():
        shown = [f"`status` is one of {_codes(sorted(final.statuses))}"] if final.statuses else []
        shown += [f"`{name}` is set" for name in final.filled]
        yield f"Final rows ({direction})", f"{' and '.join(shown)}; see [`status_refresh`](#setting-status_refresh)"
    if product.aliases:
        yield "Field aliases", ", ".join(f"`{other}` is `{name}`" for other, name in product.aliases.items())


def _meaning(name: str, spec: Mapping[str, Any], source: Source) -> str:
    notes = [_plain(spec["description"])]
    if name == source.date_field:
        notes.append("**Bookmark.**")
    if "direction" in spec:
        notes.append(f"*Only {spec['direction']}.*")
    if "personal" in spec:
        notes.append(f"*[Personal data](../privacy.md): {spec['personal']}.*")
    return " ".join(notes)


@cache
def _sandbox() -> Sandbox:
    return Sandbox(clock=EXAMPLES_SEEN)


def _example(product: Product) -> dict[str, Any]:
    """Return a record of the sandbox's traffic: one with as few nulls as possible, and short, plain texts."""
    direction = next(iter(product.directions), None)
    rows = _sandbox().expected(
        product.stream,
        None,
        direction,
        EXAMPLES_SINCE,
        EXAMPLES_UNTIL,
        include_message=product.include_message,
        show_concatenated=direction in product.concatenated_directions,
    )
    records = RecordParser(product.schema, product.aliases).parse_rows(rows)
    return min(map(asdict, records), key=_oddity)


def _example_account() -> dict[str, Any]:
    """Return the record of a sub-account with a balance of its own."""
    primary, account = Sandbox().accounts.primary, subaccounts("sub00001", "sub00002")[1]
    return RecordParser(ACCOUNTS.schema, key_field=ACCOUNTS.key_field).parse(account_fields(account, primary.key))


def _oddity(record: Mapping[str, Any]) -> tuple[object, ...]:
    text = str(record)
    return list(record.values()).count(None), not text.isascii(), len(text), record[Product.key_field]


# Errors and log lines


def _errors() -> Iterator[str]:
    texts = error_texts()
    for title, what, kinds in _by_reach():
        yield f"### {title}"
        yield ""
        yield what
        yield ""
        for kind in filter(texts.get, kinds):  # the others are bases
            what_happened, explanation = re.split(r"\.(?:\s+|$)", _docstring(kind), maxsplit=1)
            yield f"({kind.__name__.lower()})="
            yield f"#### {what_happened}"
            yield ""
            yield explanation
            yield ""
            yield from _said(texts[kind])


def _by_reach() -> Iterator[tuple[str, str, list[type[TapError]]]]:
    """Yield the error types grouped by what they end: title, explanation, types."""
    kinds = error_types()
    partition = (
        "The other partitions continue. The summary names the failed partition or window, the exit code is 1, and the "
        "next run resumes where this one stopped. In the log, each message begins with its partition."
    )
    yield (
        "Errors that end a partition or leave out a window",
        partition,
        [kind for kind in kinds if issubclass(kind, ApiError)],
    )
    run = "Every other partition would fail in the same way. The exit code is 1."
    yield "Errors that end the run immediately", run, [kind for kind in kinds if issubclass(kind, FatalApiError)]
    here = "The settings, state, catalog or output are the cause. The exit code is 1."
    rest = [kind for kind in kinds if not issubclass(kind, (ApiError, FatalApiError))]
    yield "Errors outside the API", here, rest


def _docstring(kind: type[TapError]) -> str:
    """Return the docstring of an error type without its attributes."""
    words = inspect.getdoc(kind) or ""
    return SOURCE_MARK.sub("", words.partition("\nAttributes:")[0]).strip().replace("``", "`")


def _said(texts: list[str]) -> Iterator[str]:
    """Yield messages. An ending that many of them share is shown once."""
    endings = [text.partition(". ")[2] for text in texts]
    ending = endings[0] if len(texts) >= MIN_SHARED and len(set(endings)) == 1 else ""
    for text in filter(says_something, (text.removesuffix(ending).rstrip() for text in texts)):
        yield f"* {_plain(text)}"
    if ending:
        yield ""
        yield f"Each is followed by: *{_plain(ending)}*"
    yield ""


def _log_lines() -> Iterator[str]:
    for level, texts in log_texts().items():
        if texts:
            yield f"### {level.upper()}"
            yield ""
            yield from (f"* {_plain(text)}" for text in texts)
            yield ""
