"""BATCH files hold exactly the records of messages, have one schema per stream, and are never seen incomplete."""

from __future__ import annotations

import gzip
import io
import re
import stat
import sys
import zipfile
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from unittest import mock

import duckdb
import fsspec
import msgspec
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import example, given, settings
from hypothesis import strategies as st
from singer_sdk import Stream
from singer_sdk.contrib.msgspec import MsgSpecWriter
from singer_sdk.singerlib import RecordMessage

from tap_vonage_reports.errors import ArchiveError, SettingsError, TapError
from tap_vonage_reports.output import parquet
from tap_vonage_reports.output.batch_files import BatchFiles
from tap_vonage_reports.output.parquet import Parquet
from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.records import arrow_csv
from tap_vonage_reports.records.parser import RecordParser
from tap_vonage_reports.sandbox import Sandbox
from tests.records.test_report_archive import read_rows
from tests.sandbox.reading import NOW, SHAPES, Reader
from tests.sandbox.reporting import created, download
from tests.threads import no_new_threads

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tap_vonage_reports.records.record import Record

SCHEMA: dict[str, Any] = {
    "properties": {
        "text": {"type": ["string", "null"]},
        "count": {"type": ["integer", "null"]},
        "price": {"type": ["number", "null"]},
        "flag": {"type": ["boolean", "null"]},
        "id": {"type": "string"},
        "time": {"type": ["string", "null"], "format": "date-time"},
        "thing": {"type": ["object", "null"]},
        "_extra": {"type": ["object", "null"]},
    }
}
FIELDS = list(SCHEMA["properties"])
ALIASES = {"words": "text", "cost": "price"}
ROWS = 60

every_shape = pytest.mark.parametrize(("stream", "direction"), SHAPES)
every_format = pytest.mark.parametrize("kind", ["parquet", "jsonl"])


class Parser(RecordParser):
    """A parser that counts the rows that it parses."""

    asked = 0

    def parse_cells(self, header: Sequence[str], columns: Sequence[Sequence[str]]) -> list[Record]:
        self.asked += len(columns[0])
        return super().parse_cells(header, columns)


def config(root: Path | str, kind: str = "parquet", compression: str | None = None, **storage: Any) -> Any:
    """The SDK's configuration for a setting."""
    encoding = {"format": kind, **({"compression": compression} if compression else {})}
    setting = {"batch_config": {"encoding": encoding, "storage": {"root": str(root), **storage}}}
    return cast("Any", Stream).get_batch_config(None, setting)  # it needs nothing of the stream


def files_for(batch_config: Any, schema: Mapping[str, Any] = SCHEMA, **more: Any) -> BatchFiles:
    fields = more.pop("fields", schema["properties"])
    return BatchFiles("things", schema, fields, RecordParser(schema, ALIASES, fields=fields), batch_config, **more)


def records_of(*rows: Mapping[str, Any]) -> list[Record]:
    return RecordParser(SCHEMA, ALIASES).parse_rows([{"id": str(number), **row} for number, row in enumerate(rows)])


def archive(*tables: Sequence[Sequence[str]], end: str = "\n", plain: bool = False) -> io.BytesIO:
    """A report's file with these tables, header first; `plain` quotes only cells that need it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        for number, table in enumerate(tables):
            lines = (",".join(quoted(cell, plain=plain) for cell in row) + end for row in table)
            zipped.writestr(f"report_{number}.csv", "".join(lines))
    return file


def quoted(cell: str, *, plain: bool) -> str:
    if plain and not cell.startswith('"') and not set(cell) & set(",\r\n\0"):
        return cell
    return '"' + cell.replace('"', '""') + '"'


def table_of(**columns: str) -> io.BytesIO:
    """A report's file with one row."""
    return archive([["id", *columns], ["1", *columns.values()]])


def parsed(file: io.BytesIO, schema: Mapping[str, Any] = SCHEMA, aliases: Any = None) -> list[dict[str, Any]]:
    """The rows of a report as in RECORD messages."""
    parser = RecordParser(schema, ALIASES if aliases is None else aliases)
    return [parser.parse(row) for row in read_rows(file)]


def as_json(value: Any) -> str:
    return msgspec.json.Encoder(decimal_format="number").encode(value).decode()


def held(record: Mapping[str, Any], schema: Mapping[str, Any] = SCHEMA) -> dict[str, Any]:
    """A record as it is expected in Parquet."""
    columns, extra = dict(record), dict(record["_extra"] or {})
    for name, spec in schema["properties"].items():
        if spec.get("format") == "date-time" and record[name]:
            ((second, fraction),) = re.findall(r"^(.{19})\.?(\d*)\+00:00$", record[name])
            columns[name] = datetime.fromisoformat(f"{second}.{fraction[:6]:0<6}+00:00")
            if fraction[6:].strip("0"):
                extra[name] = record[name]
    columns["_extra"] = dict(sorted(extra.items())) or None
    for name, spec in schema["properties"].items():
        if "object" in spec["type"] and columns[name] is not None:
            columns[name] = as_json(columns[name])
    return columns


def rows_by_arrow(file: io.BytesIO, parser: RecordParser, schema: Mapping[str, Any] = SCHEMA) -> list[dict[str, Any]]:
    batches = Parquet(schema, list(schema["properties"]), parser, "none").from_archive(file, None)
    return [row for batch in batches for row in batch.to_pylist()]


def path_of(address: str) -> Path:
    assert address.startswith("file:///")
    return Path(address.removeprefix("file://"))


def read_parquet(manifest: Sequence[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table([path_of(address) for address in manifest]).to_pylist()
    return rows


def in_folder(folder: Path) -> set[str]:
    """The names of all files, hidden ones included."""
    return {path.name for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def reports() -> Iterator[dict[tuple[str, str], io.BytesIO]]:
    """A report of every product and direction."""
    with Sandbox(clock=NOW, rows={"*": ROWS}, faults=["no-rate-limit"]) as sandbox:
        reader = Reader(sandbox)
        found = {}
        for stream, direction in SHAPES:
            switches = {"include_message": True} if PRODUCTS[stream].include_message else {}
            report = created(reader, stream, direction, **switches)
            found[stream, direction] = io.BytesIO(download(reader, report).content)
        reader.session.close()
        yield found


# Exact


@every_shape
def test_parquet_holds_the_records_of_messages(
    reports: dict[tuple[str, str], io.BytesIO], tmp_path: Path, stream: str, direction: str
) -> None:
    file, product = reports[stream, direction], PRODUCTS[stream]
    parser = RecordParser(product.schema, product.aliases)
    with BatchFiles(stream, product.schema, product.schema["properties"], parser, config(tmp_path)) as files:
        assert files.write_archive(file, ROWS) == files.rows == ROWS
        rows = read_parquet(files.finish())
    expected = [held(record, product.schema) for record in parsed(file, product.schema, product.aliases)]
    assert rows == expected
    assert [list(row) for row in rows] == [list(product.schema["properties"])] * ROWS


@every_shape
def test_json_lines_equal_the_records_of_messages_byte_for_byte(
    reports: dict[tuple[str, str], io.BytesIO], tmp_path: Path, stream: str, direction: str
) -> None:
    file, product = reports[stream, direction], PRODUCTS[stream]
    with files_for(config(tmp_path, "jsonl"), product.schema) as files:
        files.write_archive(file, ROWS)
        (address,) = files.finish()
    lines = gzip.decompress(path_of(address).read_bytes()).splitlines()
    records = parsed(file, product.schema)
    messages = [bytes(MsgSpecWriter().serialize_message(RecordMessage(stream, record))) for record in records]
    assert len(lines) == len(messages) == ROWS
    assert all(b'"record":%b' % line in message for line, message in zip(lines, messages, strict=True))


@every_format
def test_records_and_archives_give_the_same_file(tmp_path: Path, kind: str) -> None:
    rows = [
        ["id", "price", "time", "unknown"],
        *([str(n), f"{n}.50", "2026-11-01T00:00:00Z", "x"[n % 2 :]] for n in range(9)),
    ]
    contents = []
    for write in ("write_records", "write_archive"):
        with files_for(config(tmp_path, kind)) as files:
            if write == "write_records":
                files.write_records(RecordParser(SCHEMA, ALIASES).parse_rows(read_rows(archive(rows))))
            else:
                files.write_archive(archive(rows), 9)
            contents.append(path_of(files.finish()[0]).read_bytes())
    assert contents[0] == contents[1]


@every_shape
def test_usual_rows_do_not_need_the_parser(
    reports: dict[tuple[str, str], io.BytesIO], stream: str, direction: str
) -> None:
    schema = PRODUCTS[stream].schema
    parser = Parser(schema)
    assert len(rows_by_arrow(reports[stream, direction], parser, schema)) == ROWS
    assert parser.asked == (ROWS if stream == "reports_usage" else 0)  # this one has an object in each row


USUAL = [
    *({"time": time} for time in ("2026-11-01T00:00:00+00:00", "2020-06-01T23:59:59+0000", "2026-11-01T00:00:00Z")),
    *({"time": time} for time in ("2026-11-01 00:00:00.123Z", "2026-11-01T00:00:00.123456-02:30")),
    *({"price": price} for price in ("0", "0.0058", "0.03420000", "-12.5", "12345678901234567890.123456789012345678")),
    *({"count": count} for count in ("0", "-7", "007", "999999999999999999")),
    *({"flag": flag} for flag in ("TRUE", "FALSE", "true", "false", "True")),
    *({"text": text} for text in ('"', "\n", "\r\n", "a,b", "NULL", "😀", " ", "\ufeff", "x" * 20_000)),
    {"text": "", "count": "", "price": "", "flag": "", "time": "", "thing": "", "unknown": "", "words": ""},
]


@pytest.mark.parametrize("row", USUAL, ids=lambda row: repr(row)[:50])
def test_usual_forms_are_cast_as_the_parser_converts_them(row: dict[str, str]) -> None:
    parser = Parser(SCHEMA, ALIASES)
    assert rows_by_arrow(table_of(**row), parser) == [held(record) for record in parsed(table_of(**row))]
    assert parser.asked == 0


UNUSUAL = {
    "text": ["x", "a\0b", "\0"],
    "count": ["+5", "4.0", "1e3", "9223372036854775807", "9223372036854775808", "0x10", "1\n", "n/a", " 1", "١"],  # noqa: RUF001
    "price": [
        *("1e-18", "1e-19", "1e99", "+1", ".5", "1.", "1,5", "NaN", "0x1", "1_0", " 1.5", "", " ", "-0.00"),
        "1.0" + "0" * 30,
        *("123456789012345678901", "0.1234567890123456789", "000000000000000000000000000000000000000012", "1\n"),
    ],
    "flag": ["yes", "1", "tRUE", "fal\u017fe", "true\n", " true"],
    "time": [
        *("2026-11-01T00:00:00.1234567Z", "2026-11-01T00:00:00.1230000000+00:00", "2026-11-01T00:00:00,5Z"),
        *("2026-02-30T00:00:00Z", "2026-11-01T24:00:00Z", "2026-11-01T00:00:60Z", "2026-11-01T00:00:00+24:00"),
        *("0000-01-01T00:00:00+00:00", "0000-12-31 23:59:59+00:00", "9999-12-31T23:59:59+00:00"),
        *("0000-00-00T00:00:00Z", "0001-01-01T00:00:00+01:00", "0099-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00"),
        *("9999-12-31T23:59:59.9999999Z", "2026-11-01", "2026-11-01T00:00Z", "2026-11-01T00Z", "2026-11-01T00:00:00"),
        *("2026-1-1 1:00:00", "2026-11-01T00:00:00+00", "2026-11-01t00:00:00z", "2026-11-01T00:00:00Z\n", "now"),
    ],
    "thing": ['{"b": 1, "a": 0.10}', "[]", "{", "null"],
    "words": ["w"],
    "cost": ["1.5", "n/a"],
    "_extra": ["{}"],
    "unknown": ["u"],
}


@pytest.mark.parametrize(("name", "cell"), [(name, cell) for name, cells in UNUSUAL.items() for cell in cells])
def test_unusual_forms_are_converted_by_the_parser(name: str, cell: str) -> None:
    file = archive([["id", name], ["1", ""], ["2", cell]])
    assert rows_by_arrow(file, RecordParser(SCHEMA, ALIASES)) == [held(record) for record in parsed(file)]


anything = {
    name: st.just("") | st.sampled_from(cells) | st.sampled_from([row[name] for row in USUAL if name in row] or [""])
    for name, cells in UNUSUAL.items()
}


@st.composite
def tables(draw: st.DrawFn) -> list[list[str]]:
    names = draw(st.lists(st.sampled_from(sorted(anything)), unique=True))
    rows = draw(
        st.lists(st.tuples(*(anything[name] | st.text(st.characters(codec="utf-8"), max_size=5) for name in names)))
    )
    place = draw(st.integers(0, len(names)))
    return [
        [*row[:place], "id" if number is None else f"{number}", *row[place:]]
        for number, row in [(None, names), *enumerate(rows)]
    ]


@settings(max_examples=150, deadline=None)
@given(tables(), st.sampled_from(["\n", "\r\n"]), st.booleans())
@example(
    [["id", *UNUSUAL], *([str(n), *(cells[n % len(cells)] for cells in UNUSUAL.values())] for n in range(40))],
    "\n",
    False,  # noqa: FBT003
)
def test_any_table_gives_what_the_parser_gives(table: list[list[str]], end: str, plain: bool) -> None:  # noqa: FBT001
    file = archive(table, end=end, plain=plain)
    assert rows_by_arrow(file, RecordParser(SCHEMA, ALIASES)) == [held(record) for record in parsed(file)]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from(["a", '"', "\n", ",", "\r", 'end","end', "é"]), max_size=6).map("".join), max_size=9
    ),
    st.permutations(["text", "id"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
    st.sampled_from([1, 20, 33, 60]),
)
def test_rows_are_complete_wherever_a_block_ends(
    texts: list[str],
    order: list[str],
    end: str,
    plain: bool,  # noqa: FBT001
    size: int,
) -> None:
    rows = [[{"id": f"{number}", "text": text}[name] for name in order] for number, text in enumerate(texts)]
    file = archive([order, *rows], end=end, plain=plain)
    with mock.patch.object(arrow_csv, "BLOCK_BYTES", size), mock.patch.object(arrow_csv, "MAX_BUFFERED_BYTES", 100):
        found = [row["text"] for row in rows_by_arrow(file, RecordParser(SCHEMA))]
        ids = Parquet(SCHEMA, ["id"], RecordParser(SCHEMA, fields=["id"]), "none").from_archive(file, None)
        numbers = [number for batch in ids for number in batch["id"].to_pylist()]
    assert found == [text or None for text in texts]
    assert numbers == [f"{number}" for number in range(len(texts))]


def test_an_unusual_row_keeps_its_place_and_leaves_others_to_arrow() -> None:
    table = [["id", "price"], *([str(n), "n/a" if n == 700 else f"{n}"] for n in range(1000))]
    parser = Parser(SCHEMA)
    rows = rows_by_arrow(archive(table), parser)
    assert [row["id"] for row in rows] == [str(n) for n in range(1000)]
    assert rows[700]["_extra"] == '{"price":"n/a"}'
    assert parser.asked == 1


@pytest.mark.parametrize("plain", [False, True])
def test_rows_that_arrow_cannot_read_come_from_the_csv_reader(plain: bool) -> None:  # noqa: FBT001
    first = [["text", "id"], *(["a", f"{n}"] for n in range(5))]
    second = [["id", "text"], *([f"{n}", "y" * (900 if n == 30 else 9)] for n in range(5, 60))]
    file = archive(first, second, plain=plain)
    parser = Parser(SCHEMA)
    with mock.patch.object(arrow_csv, "BLOCK_BYTES", 256), mock.patch.object(arrow_csv, "MAX_BUFFERED_BYTES", 300):
        rows = rows_by_arrow(file, parser)
    assert [row["id"] for row in rows] == [f"{n}" for n in range(60)]
    assert rows == [held(record) for record in parsed(file)]
    assert parser.asked


def test_a_byte_order_mark_is_not_part_of_a_column_name() -> None:
    file = archive([["\ufeffid", "price"], ["1", "0.5"]], plain=True)
    parser = Parser(SCHEMA)
    assert [(row["id"], row["price"]) for row in rows_by_arrow(file, parser)] == [("1", Decimal("0.5"))]
    assert parser.asked == 0


def test_cells_of_a_megabyte_are_exact() -> None:
    texts = ["é,\n" * 350_000 if number in (10, 50) else f"{number}" for number in range(200)]
    table = [["id", "text"], *([str(number), text] for number, text in enumerate(texts))]
    batches = Parquet(SCHEMA, FIELDS, RecordParser(SCHEMA), "none").from_archive(archive(table), len(texts))
    assert [text for batch in batches for text in batch["text"].to_pylist()] == texts


def test_a_time_with_more_digits_than_its_column_is_truncated_and_kept_in_extra() -> None:
    (row,) = rows_by_arrow(table_of(time="2026-11-01T00:00:00.123456789Z", price="n/a"), RecordParser(SCHEMA))
    assert row["time"].isoformat() == "2026-11-01T00:00:00.123456+00:00"
    assert row["_extra"] == '{"price":"n/a","time":"2026-11-01T00:00:00.123456789+00:00"}'


# Files that fit together


def test_files_are_read_together_with_every_digit_whatever_their_values(tmp_path: Path) -> None:
    prices = ["0.0058", "12345678901234567890.123456789012345678", None, "-0.000000000000000001", "100000"]
    manifest = []
    for price in prices:
        with files_for(config(tmp_path)) as files:
            files.write_records(records_of({"price": price}))
            manifest += files.finish()
    expected = [price and Decimal(price) for price in prices]
    assert [row["price"] for row in read_parquet(manifest)] == expected
    query = "SELECT price FROM read_parquet(?)"
    found = duckdb.execute(query, [[str(path_of(address)) for address in manifest]]).fetchall()
    assert [price for (price,) in found] == expected


@pytest.mark.parametrize("stream", PRODUCTS)
def test_every_file_of_a_stream_has_the_same_schema(
    reports: dict[tuple[str, str], io.BytesIO], tmp_path: Path, stream: str
) -> None:
    schema = PRODUCTS[stream].schema
    nothing = RecordParser(schema).parse_rows([{"id": "1"}])
    manifest = []
    with files_for(config(tmp_path), schema) as files:
        for file in (file for (name, _), file in reports.items() if name == stream):
            files.write_archive(file, ROWS)
            manifest += files.finish()
        files.write_archive(archive([["id", "new"], ["1", "2"]]), 1)
        manifest += files.finish()
        files.write_records(nothing)
        manifest += files.finish()
    first, *others = [pq.read_schema(path_of(address)) for address in manifest]
    assert others
    assert all(other.equals(first, check_metadata=True) for other in others)
    types = {name: str(first.field(name).type) for name in first.names}
    assert types.keys() == schema["properties"].keys()
    assert set(types.values()) <= {"string", "int64", "bool", "decimal128(38, 18)", "timestamp[us, tz=UTC]"}
    assert types["id"] == types["_extra"] == "string"


@every_format
def test_fields_that_are_not_selected_are_in_no_file(tmp_path: Path, kind: str) -> None:
    fields = ["time", "text"]
    file = archive([[*FIELDS[:6], "words"], ["secret", "n/a", "1", "TRUE", "7", "2026-11-01T00:00:00Z", "secret"]])
    with files_for(config(tmp_path, kind), fields=fields) as files:
        files.write_archive(file, 1)
        files.write_records(RecordParser(SCHEMA, fields=fields).parse_rows([{"id": "2", "text": "t", "price": "3"}]))
        (address,) = files.finish()
    if kind == "parquet":
        names = [list(row) for row in read_parquet([address])]
    else:
        names = [
            list(msgspec.json.decode(line)) for line in gzip.decompress(path_of(address).read_bytes()).splitlines()
        ]
    assert names == [["text", "id", "time"]] * 2


@every_format
def test_rows_per_file_are_limited(tmp_path: Path, kind: str) -> None:
    with files_for(config(tmp_path, kind, "none"), rows_per_file=10) as files:
        files.write_records(records_of(*[{}] * 7))
        files.write_archive(archive([["id"], *([str(n)] for n in range(25))]), 25)
        assert files.rows == 32
        manifest = files.finish()
        assert files.rows == 0
    paths = [path_of(address) for address in manifest]
    counts = [
        pq.read_metadata(path).num_rows if kind == "parquet" else len(path.read_bytes().splitlines()) for path in paths
    ]
    assert counts == [10, 10, 10, 2]
    assert sorted(paths) == paths


def test_row_groups_are_limited_by_rows_and_bytes(tmp_path: Path) -> None:
    with files_for(config(tmp_path)) as files, mock.patch.object(parquet, "ROW_GROUP_BYTES", 50_000):
        for _ in range(20):
            files.write_records(records_of({"text": "short"}))
        for _ in range(3):
            files.write_records(records_of({"text": "x" * 30_000}))
        metadata = pq.read_metadata(path_of(files.finish()[0]))
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == [21, 1, 1]


# Compression


@pytest.mark.parametrize("codec", [None, "snappy", "zstd", "gzip", "brotli", "lz4", "none"])
def test_parquet_has_the_compression_of_the_setting_and_of_the_message(tmp_path: Path, codec: str | None) -> None:
    with files_for(config(tmp_path, "parquet", codec)) as files:
        files.write_records(records_of({"text": "t"}))
        path = path_of(files.finish()[0])
    assert (files.encoding.format, files.encoding.compression) == ("parquet", codec or "snappy")
    used = pq.read_metadata(path).row_group(0).column(0).compression
    assert used == {"none": "UNCOMPRESSED", None: "SNAPPY"}.get(codec, str(codec).upper())
    assert path.suffix == ".parquet"


@pytest.mark.parametrize(
    ("codec", "suffixes"), [(None, [".jsonl", ".gz"]), ("gzip", [".jsonl", ".gz"]), ("none", [".jsonl"])]
)
def test_json_lines_have_the_compression_of_the_setting_and_of_the_message(
    tmp_path: Path, codec: str | None, suffixes: list[str]
) -> None:
    with files_for(config(tmp_path, "jsonl", codec)) as files:
        files.write_records(records_of({"price": "0.50"}))
        path = path_of(files.finish()[0])
    assert (files.encoding.format, files.encoding.compression) == ("jsonl", codec or "gzip")
    assert path.suffixes == suffixes
    content = path.read_bytes()
    assert b'"price":0.50,' in (content if codec == "none" else gzip.decompress(content))


# Places


LAYOUTS = {"flat": "", "stream": "things/", "stream/date": r"things/read_date=(\d{4})-(\d\d)-(\d\d)/"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_file_names_are_readable_and_unique_and_sort_by_time(tmp_path: Path, layout: str) -> None:
    manifest = []
    for _ in range(2):
        with files_for(config(tmp_path, prefix="daily/vonage-"), rows_per_file=1, layout=layout) as files:
            files.write_records(records_of({}, {}))
            manifest += files.finish()
    names = [path_of(address).relative_to(tmp_path).as_posix() for address in manifest]
    assert sorted(set(names)) == names
    pattern = rf"daily/vonage-{LAYOUTS[layout]}things-(\d{{8}})T\d{{12}}Z-[0-9a-f]{{8}}-\d{{5,}}\.parquet"
    for name in names:
        found = re.fullmatch(pattern, name)
        assert found
        *date, day = found.groups()
        assert not date or "".join(date) == day
    assert {path_of(address).stat().st_mode & 0o777 for address in manifest} == {0o600} or sys.platform == "win32"


@pytest.mark.parametrize("root", ["{}", "file://{}", "{}/"])
def test_a_folder_may_be_a_path_or_an_address(tmp_path: Path, root: str) -> None:
    folder = tmp_path / "new folder"
    with files_for(config(root.format(folder))) as files:
        files.write_records(records_of({}))
        (address,) = files.finish()
    assert path_of(address).parent == folder / "things"
    # This is how the SDK's targets, and others who use fsspec, take it.
    with fsspec.open(address) as file:
        assert pq.read_table(file).num_rows == 1


def test_a_folder_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with files_for(config("out")) as files:
        files.write_records(records_of({}))
        assert path_of(files.finish()[0]).parent == tmp_path / "out" / "things"


@every_format
def test_files_can_go_to_any_storage_of_fsspec(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with files_for(config("memory://bucket/batches", kind, "none", prefix="x/"), rows_per_file=1) as files:
        files.write_records(records_of({"text": "a"}, {"text": "b"}))
        manifest = files.finish()
    assert all(
        re.fullmatch(r"memory:///bucket/batches/x/things/things-.*-\d{5,}\.\w+", address) for address in manifest
    )
    texts = []
    for address in manifest:
        with fsspec.open(address) as file:
            rows = pq.read_table(file).to_pylist() if kind == "parquet" else [msgspec.json.decode(file.read())]
        texts += [row["text"] for row in rows]
    assert texts == ["a", "b"]
    assert in_folder(tmp_path) == set()
    fsspec.filesystem("memory").rm("/bucket", recursive=True)


@pytest.mark.promise("Temporary files are private to the user and removed on every way out.")
def test_drafts_and_files_are_private(tmp_path: Path) -> None:
    with files_for(config(tmp_path)) as files:
        files.write_records(records_of({}))
        (draft,) = (tmp_path / "things").iterdir()
        assert draft.name.startswith(".")
        assert stat.S_IMODE(draft.stat().st_mode) == 0o600
        path = path_of(files.finish()[0])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert in_folder(tmp_path) == {path.name}


# On every way out


@every_format
def test_without_rows_there_is_no_file(tmp_path: Path, kind: str) -> None:
    with files_for(config(tmp_path, kind)) as files:
        files.write_records([])
        files.write_archive(archive([["id", "text"]]), 0)
        assert (files.finish(), files.finish()) == ([], [])
    assert in_folder(tmp_path) == set()


@every_format
@pytest.mark.parametrize("rows", [1, 1000])
def test_files_that_finish_has_not_returned_are_removed(tmp_path: Path, kind: str, rows: int) -> None:
    with files_for(config(tmp_path, kind), rows_per_file=rows) as files:
        files.write_records(records_of({}))
        (kept,) = files.finish()
        files.write_records(records_of({}, {}))
    assert in_folder(tmp_path) == {path_of(kept).name}


@pytest.mark.promise("Temporary files are private to the user and removed on every way out.")
@every_format
@pytest.mark.parametrize("ending", [KeyboardInterrupt, GeneratorExit, ValueError])
def test_an_interrupted_archive_leaves_no_file(tmp_path: Path, kind: str, ending: type[BaseException]) -> None:
    files = files_for(config(tmp_path, kind), rows_per_file=2)
    with no_new_threads(), pytest.raises(ending):
        files.write_archive(archive([["id"], ["1"], ["2"], ["3"]]), 3, mock.Mock(side_effect=ending))
    assert in_folder(tmp_path) == set()
    assert files.finish() == []


@every_format
def test_a_report_with_another_number_of_rows_than_announced_is_rejected(tmp_path: Path, kind: str) -> None:
    files = files_for(config(tmp_path, kind))
    with pytest.raises(ArchiveError, match="number of rows is 1, but the API announced 2"):
        files.write_archive(archive([["id"], ["1"]]), 2)
    assert in_folder(tmp_path) == set()


@every_format
def test_an_error_of_a_folder_does_not_name_it(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "a-secret-name"
    root.touch()
    with files_for(config(root, kind)) as files, pytest.raises(TapError, match="cannot be written") as told:
        files.write_records(records_of({}))
    assert "a-secret-name" not in str(told.value)


def write_file(files: BatchFiles) -> None:
    files.write_records(records_of({"text": "x" * 100}))
    files.finish()


@every_format
def test_a_full_disk_is_an_error_and_leaves_no_file(tmp_path: Path, kind: str) -> None:
    class Full(io.FileIO):
        def write(self, _content: Any) -> int:
            raise OSError(28, "No space left on device", "a-secret-name")

    files = files_for(config(tmp_path, kind))
    full = mock.patch(
        "tap_vonage_reports.output.batch_files.open",
        lambda path, mode, opener: Full(path, mode, opener=opener),
        create=True,
    )
    with full, files, pytest.raises(TapError, match="No space left on device") as told:
        write_file(files)
    assert "a-secret-name" not in str(told.value)
    assert in_folder(tmp_path) == set()


def test_a_failing_storage_is_an_error_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(MemoryFileSystem, "put_file", mock.Mock(side_effect=PermissionError("a-secret-name")))
    files = files_for(config("memory://empty"))
    files.write_records(records_of({}))
    with pytest.raises(TapError, match=r"cannot be written \(PermissionError\)") as told:
        files.finish()
    assert "a-secret-name" not in str(told.value)
    assert in_folder(tmp_path) == set()
    assert fsspec.filesystem("memory").find("/empty") == []


# Packages that not everybody has


@pytest.fixture
def without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "tap_vonage_reports.output.parquet")
    monkeypatch.delattr("tap_vonage_reports.output.parquet")


@pytest.mark.usefixtures("without_pyarrow")
def test_without_pyarrow_parquet_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"pip install 'tap-vonage-reports\[parquet\]', or set the format to jsonl"):
        files_for(config(tmp_path))


def test_a_pyarrow_that_cannot_be_imported_says_what_to_do_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tap_vonage_reports.output.parquet", None)
    with files_for(config(tmp_path)) as files, pytest.raises(SettingsError, match="need the package pyarrow"):
        files.write_records(records_of({}))
    assert in_folder(tmp_path) == set()


@pytest.mark.usefixtures("without_pyarrow")
def test_json_lines_need_no_pyarrow(tmp_path: Path) -> None:
    with files_for(config(tmp_path, "jsonl")) as files:
        files.write_records(records_of({}))
        assert len(files.finish()) == 1


def test_without_its_package_a_storage_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(SettingsError, match=r"pip install 'tap-vonage-reports\[s3\]'") as told:
        files_for(config("s3://a-secret-name"))
    assert "a-secret-name" not in str(told.value)


def test_an_error_of_an_unknown_storage_does_not_name_it() -> None:
    with pytest.raises(SettingsError, match="cannot be used") as told:
        files_for(config("secret://a-secret-name"))
    assert "secret" not in str(told.value)


def test_the_sample_that_decides_on_dictionaries_is_small_however_long_the_rows_are(tmp_path: Path) -> None:
    seen = mock.Mock(wraps=parquet._repetitive)  # noqa: SLF001 - what it is given shows what memory it takes
    with files_for(config(tmp_path)) as files, mock.patch.object(parquet, "_repetitive", seen):
        files.write_records(records_of(*[{"text": str(number) * 100_000} for number in range(100, 200)]))
        files.finish()
    (sample,) = seen.call_args.args
    assert 0 < sample.nbytes < 2 * parquet.SAMPLE_BYTES


def test_columns_that_repeat_have_dictionaries_and_the_first_file_with_enough_rows_decides(tmp_path: Path) -> None:
    def has_dictionary(address: str) -> bool:
        column = pq.read_metadata(path_of(address)).row_group(0).column(list(SCHEMA["properties"]).index("text"))
        return "RLE_DICTIONARY" in column.encodings

    found = []
    with mock.patch.object(parquet, "SAMPLE_ROWS", 4), files_for(config(tmp_path)) as files:
        for texts in (["a", "b"], ["a"] * 8, list("abcdefgh")):
            files.write_records(records_of(*[{"text": text} for text in texts]))
            found += [has_dictionary(address) for address in files.finish()]
    assert found == [False, True, True]
