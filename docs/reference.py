"""The pages that are made from the code each time the site is built: settings, streams, errors, log lines.

As an extension of Sphinx it writes them below the folder of the pages before these are read. Git does not know them.
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
from singer_sdk.contrib.msgspec import encoder

from docs.messages import error_texts, error_types, log_texts
from tap_vonage_reports.config.schema import CONFIG_JSONSCHEMA, ENVIRONMENT_PREFIX
from tap_vonage_reports.errors import ApiError, FatalApiError, TapError
from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.records.parser import KEY_FIELD, RecordParser
from tap_vonage_reports.sandbox import Sandbox
from tap_vonage_reports.tap import TapVonageReports

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sphinx.application import Sphinx

    from tap_vonage_reports.products import Product

EXAMPLES_UNTIL = datetime(2026, 11, 10, 12, tzinfo=timezone.utc)
EXAMPLES_SINCE = EXAMPLES_UNTIL - timedelta(hours=6)
EXAMPLES_SEEN = EXAMPLES_UNTIL + timedelta(days=10)
"""When the sandbox is asked for the examples: late enough for every row to be final."""

WORDS = {"object": "object (JSON)", "date-time": "date and time", "array": "list"}
"""What the kinds of JSON Schema are called on the pages, where that is not their name."""

MANY = 5
"""Messages that are too many to repeat what all of them end with."""

MADE = ("generated", "streams")
"""The folders that hold nothing else."""


def pages() -> dict[str, str]:
    """The pages and parts of pages as Markdown, by their paths."""
    return {
        "generated/settings.md": _text(_settings()),
        "generated/errors.md": _text(_errors()),
        "generated/log.md": _text(_log_lines()),
        "streams/index.md": _text(_streams()),
        **{f"streams/{product.stream}.md": _text(_stream(product)) for product in PRODUCTS.values()},
    }


def setup(app: Sphinx) -> dict[str, Any]:
    """Have the pages made before Sphinx looks for pages."""
    app.connect("builder-inited", lambda app: write(Path(app.srcdir)))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write(folder: Path) -> None:
    """Write the pages, where they are not there yet as they should be; remove those that are no more.

    Args:
        folder: Where the other pages are.
    """
    made = {folder / path: text for path, text in pages().items()}
    for path in [path for name in MADE for path in (folder / name).glob("*.md")]:
        if path not in made:
            path.unlink()
    for path, text in made.items():
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Text without what Markdown or a table would take for its own."""
    return re.sub(r"([|<*])", r"\\\1", text)


def _codes(names: Iterable[str], otherwise: str = "none") -> str:
    return ", ".join(f"`{name}`" for name in names) or otherwise


def _table(head: Iterable[str], rows: Iterable[Iterable[str]], kind: str) -> Iterator[str]:
    """A table; on a narrow screen one of kind ``stacked`` puts the cells of a row below each other (site.css)."""
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
    yield "Every tap that is built on the SDK has these; they work as in all of them."
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
        facts.append("secret: it is kept out of the log")
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
        yield f":Takes: {limits}"
    yield f":Variable: `{ENVIRONMENT_PREFIX}{name.upper()}`"
    if name in CONFIG_JSONSCHEMA["properties"]:
        parts = list(_parts(name, spec))
        if parts:
            yield ""
            yield from _table(("Part", "Type", "Takes"), parts, "stacked fields")
    yield ""


def _kind(spec: Mapping[str, Any]) -> str:
    kinds = [spec["type"]] if isinstance(spec["type"], str) else spec["type"]
    kind = str(spec.get("format") or next(kind for kind in kinds if kind != "null"))
    return WORDS.get(kind, kind)


def _limits(spec: Mapping[str, Any]) -> str:
    """What a value has to keep to, in words."""
    if "enum" in spec:
        return _codes(filter(None, spec["enum"]))
    words = {"minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most"}
    return ", ".join(f"{word} {spec[key]}" for key, word in words.items() if key in spec)


def _parts(path: str, spec: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What an object holds, down to what holds nothing itself: path, type, limits."""
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
        "One stream per product of the API. The key is always `id`. Each page says what the stream's bookmark, "
        "look-back and filters are, lists the fields with their types, and shows a record."
    )
    yield ""
    rows = (
        (f"[`{product.stream}`]({product.stream}.md)", f"{product.name}: {_plain(product.schema['description'])}")
        for product in PRODUCTS.values()
    )
    yield from _table(("Stream", "Product, and what it holds"), rows, "stacked")
    yield "```{toctree}"
    yield ":hidden:"
    yield ""
    yield from PRODUCTS
    yield "```"


def _stream(product: Product) -> Iterator[str]:
    schema = product.schema
    yield f"(stream-{product.stream})="
    yield f"# `{product.stream}`"
    yield ""
    yield _plain(schema["description"])
    yield ""
    yield from _table(("What", "Value"), _facts(product), "facts")
    if product.unsure:
        yield ":::{admonition} Open questions"
        yield ":class: warning"
        yield _plain(product.unsure)
        yield ":::"
        yield ""
    yield "## Fields"
    yield ""
    rows = ((f"`{name}`", _kind(spec), _meaning(name, spec, product)) for name, spec in schema["properties"].items())
    yield from _table(("Field", "Type", "Meaning"), rows, "stacked fields")
    yield "All but the key may be null. Fields have the order of this table."
    yield ""
    yield "## A record"
    yield ""
    yield (
        "From the [sandbox](../guide.md#try-it-without-an-account): the account, the people and the numbers are "
        "invented. The numbers are those that are set aside for fiction."
    )
    yield ""
    yield "```json"
    yield msgspec.json.format(encoder.encode(_example(product)), indent=2).decode()
    yield "```"


def _facts(product: Product) -> Iterator[tuple[str, str]]:
    yield "Product", product.name
    yield "Key", f"`{KEY_FIELD}`"
    yield "Date field (bookmark)", f"`{product.date_field}`"
    yield "Partitions", f"account{', direction' if product.directions else ''}"
    yield "Directions", ", ".join(product.directions) or "not asked for"
    yield (
        "Look-back",
        f"{product.lookback_hours:g} hours; see [`lookback_hours`](#setting-lookback_hours)",
    )
    yield "Kept by Vonage for", str(product.retention)
    yield "Selected by default", "yes" if product.selected else "no"
    yield "Filters, by pages", _codes(product.sync_filters)
    yield "Filters, by reports", _codes(product.async_filters)
    if product.include_message:
        yield "Text of messages", "with [`include_message`](#setting-include_message)"
    for direction, final in product.final.items():
        shown = [f"`status` is one of {_codes(sorted(final.statuses))}"] if final.statuses else []
        shown += [f"`{name}` is there" for name in final.filled]
        yield f"Final rows, {direction}", f"{' and '.join(shown)}; see [`status_refresh`](#setting-status_refresh)"
    if product.aliases:
        yield "Other names of fields", ", ".join(f"`{other}` is `{name}`" for other, name in product.aliases.items())


def _meaning(name: str, spec: Mapping[str, Any], product: Product) -> str:
    notes = [_plain(spec["description"])]
    if name == product.date_field:
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
    """A record of the sandbox's traffic: one that has as many fields filled as any, and texts that are easy to read."""
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
    return min(records, key=_oddity)


def _oddity(record: Mapping[str, Any]) -> tuple[object, ...]:
    text = str(record)
    return list(record.values()).count(None), not text.isascii(), len(text), record[KEY_FIELD]


# Errors and log lines


def _errors() -> Iterator[str]:
    texts = error_texts()
    for title, what, kinds in _by_reach():
        yield f"### {title}"
        yield ""
        yield what
        yield ""
        for kind in kinds:
            yield f"#### `{kind.__name__}`"
            yield ""
            yield _docstring(kind)
            yield ""
            yield from _said(texts.get(kind, []))


def _by_reach() -> Iterator[tuple[str, str, list[type[TapError]]]]:
    """The types of errors, by what they end."""
    kinds = error_types()
    partition = (
        "The other partitions go on. The summary names this one, the exit code is 1, and the next run goes on where "
        "this one stopped. In a log line the partition stands before the message."
    )
    yield "What ends a partition", partition, [kind for kind in kinds if issubclass(kind, ApiError)]
    run = "No other partition would fare better. The exit code is 1."
    yield "What ends the run at once", run, [kind for kind in kinds if issubclass(kind, FatalApiError)]
    here = "Settings, state, catalog, or who reads the output. The exit code is 1."
    rest = [kind for kind in kinds if not issubclass(kind, (ApiError, FatalApiError))]
    yield "What is wrong on this side", here, rest


def _docstring(kind: type[TapError]) -> str:
    """The words on a type of error, without those on its attributes."""
    words = inspect.getdoc(kind) or ""
    return words.partition("\nAttributes:")[0].strip().replace("``", "`")


def _said(texts: list[str]) -> Iterator[str]:
    """Messages; what many of them end with stands once."""
    endings = [text.partition(". ")[2] for text in texts]
    ending = endings[0] if len(texts) >= MANY and len(set(endings)) == 1 else ""
    for text in texts:
        yield f"* {_plain(text.removesuffix(ending).rstrip())}"
    if ending:
        yield ""
        yield f"each followed by: *{_plain(ending)}*"
    yield ""


def _log_lines() -> Iterator[str]:
    for level, texts in log_texts().items():
        if texts:
            yield f"### {level.upper()}"
            yield ""
            yield from (f"* {_plain(text)}" for text in texts)
            yield ""
