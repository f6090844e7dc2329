"""Loaders that take long to install or to run, for the nightly job."""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
import subprocess
import sys
from datetime import timedelta
from decimal import Decimal
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from tap_vonage_reports.products import PRODUCTS
from tap_vonage_reports.sandbox import Sandbox, Within
from tests.environments import ROOT, environment, requirements_of
from tests.harness import run_tap, settings_for
from tests.loaders.dataset import END, ROWS, START, Dataset, Rows, differences, load, newest, total
from tests.loaders.test_loaders import DUCKDB, every_form, in_duckdb

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from s3fs import S3FileSystem

OBJECTS = ("_extra", "request_params")
pytestmark = pytest.mark.nightly

# Types, by the functions of the loaders themselves

COLUMNS: dict[str, dict[str, Any]] = {
    "number": {"type": ["number", "null"]},
    "decimal text": {"type": ["string", "null"], "format": "x-singer.decimal", "precision": 38, "scale": 18},
    "decimal text without a scale": {"type": ["string", "null"], "format": "x-singer.decimal"},
    "time": {"type": ["string", "null"], "format": "date-time"},
    "object": {"type": ["object", "null"]},
    "object text": {"type": ["string", "null"], "contentMediaType": "application/json"},
}
SNOWFLAKE = """
import json, sys
from snowflake.sqlalchemy.snowdialect import SnowflakeDialect
from target_snowflake.connector import SnowflakeConnector

connector = SnowflakeConnector(config={"account": "a", "user": "u", "password": "p", "database": "d"})
types = {name: connector.to_sql_type(spec) for name, spec in json.load(sys.stdin).items()}
print(json.dumps({name: kind.compile(dialect=SnowflakeDialect()) for name, kind in types.items()}))
"""
BIGQUERY = """
import json, sys
from target_bigquery.core import bigquery_type

columns = json.load(sys.stdin)
print(json.dumps({name: bigquery_type(spec["type"], spec.get("format")) for name, spec in columns.items()}))
"""


def types_by(python: Path, program: str) -> dict[str, str]:
    """Return the types that a loader gives the columns."""
    done = subprocess.run(  # noqa: S603 - from above
        [python, "-W", "ignore", "-c", program],
        input=json.dumps(COLUMNS),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_snowflake_has_exact_columns_for_text_and_floats_for_numbers() -> None:
    python = environment("target-snowflake", ["meltanolabs-target-snowflake==0.20.4"]) / "python"
    assert types_by(python, SNOWFLAKE) == {
        "number": "FLOAT",
        "decimal text": "DECIMAL(38, 18)",
        "decimal text without a scale": "DECIMAL",  # which is NUMBER(38, 0) there: no cents
        "time": "TIMESTAMP_NTZ",
        "object": "VARIANT",
        "object text": "VARCHAR",
    }


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="z3-target-bigquery is for Python 3.11 and older")
def test_bigquery_has_text_for_text_and_floats_for_numbers() -> None:
    python = environment("target-bigquery", ["z3-target-bigquery==0.7.2", "setuptools<81"]) / "python"
    assert types_by(python, BIGQUERY) == {
        "number": "float",
        "decimal text": "string",
        "decimal text without a scale": "string",
        "time": "timestamp",
        "object": "record",
        "object text": "string",
    }


# DuckDB


@pytest.mark.parametrize("newest", [False, True])
def test_target_duckdb_drops_the_first_row_of_texts_with_any_newer_duckdb(tmp_path: Path, newest: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    schema = {"properties": {name: {"type": ["string", "null"]} for name in ("id", "status")}}
    start = {"type": "SCHEMA", "stream": "texts", "schema": schema, "key_properties": ["id"]}
    rows = [{"type": "RECORD", "stream": "texts", "record": {"id": f"{n}", "status": "x"}} for n in range(3)]
    lines = b"".join(json.dumps(message).encode() + b"\n" for message in (start, *rows))
    name, requirements = ("target-duckdb-newest", [DUCKDB[0], "duckdb>1.0"]) if newest else ("target-duckdb", DUCKDB)
    tables, _ = in_duckdb(environment(name, requirements), tmp_path, [lines], "texts")
    assert [row["id"] for row in tables["texts"]] == ["0", "1", "2"][newest:], "change docs/loaders.md"


# SQLite


def test_target_sqlite_does_not_start_on_a_python_of_today() -> None:
    done = load([environment("target-sqlite", ["target-sqlite==0.2.0"]) / "target-sqlite", "--help"], b"")
    assert b"has no attribute 'MutableMapping'" in done.stderr, "it starts: change docs/loaders.md"


# S3

S3 = ["plinxore-target-s3==0.1.7"]
KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="the loader is for Python 3.12 and older")
@every_form
def test_target_s3_appends_exact_json_lines(dataset: Dataset, tmp_path: Path, bucket: S3FileSystem, form: str) -> None:
    assert [done.returncode for done in in_s3(tmp_path, bucket, "jsonl", dataset.runs[form])] == [0, 0]
    for stream in ROWS:
        files = sorted(bucket.find(f"lake/vonage/{stream}"), key=lambda name: bucket.info(name)["LastModified"])
        lines = [line for name in files for line in gzip.decompress(bucket.cat(name)).splitlines()]
        rows = [json.loads(line, parse_float=Decimal) for line in lines]
        assert len(rows) == dataset.emitted[stream]
        assert differences(dataset, stream, dict(newest(stream, rows))) == {}


def in_s3(
    folder: Path, bucket: S3FileSystem, kind: str, runs: Sequence[bytes]
) -> list[subprocess.CompletedProcess[bytes]]:
    """Load runs with target-s3, and return how each run ended."""
    cloud = {**KEYS, "aws_region": "us-east-1", "aws_bucket": "lake", "aws_endpoint_override": bucket.endpoint_url}
    settings = {
        "format": {"format_type": kind},
        "cloud_provider": {"cloud_provider_type": "aws", "aws": cloud},
        "prefix": "vonage",
        "append_date_to_prefix": False,
    }
    (folder / "config.json").write_text(json.dumps(settings))
    target = environment("target-s3", S3) / "target-s3"
    # Without the variables, it looks for credentials at an address of Amazon's network, too, and waits.
    variables = {**os.environ, **{name.upper(): value for name, value in KEYS.items()}}
    return [load([target, "--config", folder / "config.json"], messages, env=variables) for messages in runs]


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({}, "'NoneType' object has no attribute 'items'"),
        ({"decimals": "text", "objects": "text"}, "cannot be converted"),
        ({"objects": "text"}, ""),
    ],
)
@pytest.mark.skipif(sys.version_info >= (3, 13), reason="the loader is for Python 3.12 and older")
def test_target_s3_makes_floats_in_parquet_and_fails_on_objects_and_on_decimal_text(
    tmp_path: Path, bucket: S3FileSystem, settings: dict[str, str], error: str
) -> None:
    messages = run_of(settings)
    done = in_s3(tmp_path, bucket, "parquet", [messages])
    assert error in done[0].stderr.decode()
    assert done[0].returncode == (1 if error else 0)
    if not error:
        files = bucket.find("lake/vonage/sms")
        prices = [pq.read_table(BytesIO(bucket.cat(name)))["total_price"].to_pylist() for name in files]
        assert {type(price) for each in prices for price in each} >= {float}


def run_of(settings: dict[str, str]) -> bytes:
    """Return the messages of a run with some settings."""
    rows = {"*": 0, "sms": 20, "reports_usage": 5}
    with Sandbox(rows=rows, clock=END, faults=["no-rate-limit"]) as sandbox:
        output = run_tap(settings_for(sandbox, start_date=START.isoformat(), **settings), ["sms", "reports_usage"])
    return b"".join(output.lines)


# CSV


@every_form
def test_target_csv_keeps_digits_and_needs_objects_as_text(dataset: Dataset, tmp_path: Path, form: str) -> None:
    target = environment("target-csv", ["meltanolabs-target-csv==0.5.0"]) / "target-csv"
    rows: dict[str, Rows] = {stream: [] for stream in ROWS}
    for number, messages in enumerate(dataset.runs[form]):
        folder = tmp_path / f"{number}"
        (tmp_path / "config.json").write_text(json.dumps({"output_path": str(folder)}))
        done = load([target, "--config", tmp_path / "config.json"], messages)
        assert done.returncode == 0, done.stderr.decode()[-3000:]
        for stream in ROWS:
            with (folder / f"{stream}.csv").open(newline="", encoding="utf-8") as file:
                rows[stream] += csv.DictReader(file)
    objects = [row["_extra"] for row in rows["sms"] if row["_extra"]]
    assert objects
    if form == "number":
        assert all(text.startswith("{'") for text in objects), "it writes JSON now: change docs/loaders.md"
        rows = {stream: [{**row, "_extra": "", "request_params": ""} for row in each] for stream, each in rows.items()}
    for stream in ROWS:
        wrong = differences(dataset, stream, newest(stream, rows[stream]))
        assert {name: count for name, count in wrong.items() if form == "text" or name not in OBJECTS} == {}


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="the loader is for Python 3.11 and older")
@every_form
def test_target_s3_csv_shifts_columns_unless_objects_are_text(
    dataset: Dataset, tmp_path: Path, bucket: S3FileSystem, form: str
) -> None:
    settings = {**KEYS, "s3_bucket": "lake", "aws_endpoint_url": bucket.endpoint_url, "temp_dir": str(tmp_path)}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    target = environment("target-s3-csv", ["pipelinewise-target-s3-csv==2.0.0"]) / "target-s3-csv"
    rows: Rows = []
    for messages in dataset.runs[form]:
        done = load([target, "--config", tmp_path / "config.json"], messages)
        assert done.returncode == 0, done.stderr.decode()[-3000:]
        for name in bucket.find("lake"):
            if "reports_usage" in name:
                rows += csv.DictReader(StringIO(bucket.cat(name).decode()))
            bucket.rm(name)
    shifted = sum(None in row for row in rows)
    if form == "number":
        assert shifted, "it shifts no row: change docs/loaders.md"
    else:
        assert shifted == 0
        assert differences(dataset, "reports_usage", newest("reports_usage", rows)) == {}


# ClickHouse and Spark, over the tap's own files

CHDB = """
import json, sys, chdb

query = "select count(), toString(sum(total_price)) from file('{}', Parquet)"
for pattern in sys.argv[1:]:
    print(chdb.query(query.format(pattern), "CSV"))
"""
SPARK = """
import sys
from pyspark.sql import SparkSession

spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
spark.sparkContext.setLogLevel("ERROR")
rows = spark.read.parquet(*sys.argv[1:])
rows.createOrReplaceTempView("sms")
print(*spark.sql("select count(*), sum(total_price) from sms").first(), *sorted(rows.columns), sep=",")
"""
FILES_OF_A_TABLE = """
import sys
from deltalake import DeltaTable

print(*DeltaTable(sys.argv[1]).file_uris())
"""


@pytest.fixture
def lake(tmp_path: Path) -> tuple[Path, int, Decimal]:
    """The files of a run in folders per stream and day, how many SMS there are, and the sum of their prices."""
    rows: dict[str, Any] = {"*": 0, "sms": Within(100, START, END), "reports_usage": Within(10, START, END)}
    files = {"batch_config": {"encoding": {"format": "parquet"}, "storage": {"root": str(tmp_path / "lake")}}}
    streams = ["sms", "reports_usage"]
    with Sandbox(rows=rows, clock=END + timedelta(minutes=2), faults=["no-rate-limit"]) as sandbox:
        settings = settings_for(sandbox, start_date=START.isoformat(), end_date=END.isoformat())
        output = run_tap({**settings, **files, "batch_layout": "stream/date"}, streams)
        assert output.code == 0, output.log
        records = run_tap(settings, streams).records["sms"]
    return tmp_path / "lake", len(records), total(records)


def test_chdb_sums_the_files_of_a_stream_exactly(lake: tuple[Path, int, Decimal]) -> None:
    folder, count, price = lake
    done = load([environment("chdb", ["chdb==4.4.0"]) / "python", "-c", CHDB, f"{folder}/sms/**/*.parquet"], b"")
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    rows, found = next(csv.reader([done.stdout.decode().strip()]))
    assert (int(rows), Decimal(found)) == (count, price)


with_java = pytest.mark.skipif(not shutil.which("java"), reason="Spark needs Java: apt install default-jre-headless")


@with_java
def test_spark_reads_the_folder_of_a_stream_as_a_table_and_sums_exactly(lake: tuple[Path, int, Decimal]) -> None:
    folder, count, price = lake
    rows, found, columns = by_spark(folder / "sms")
    assert (rows, found) == (count, price)
    assert columns == sorted([*PRODUCTS["sms"].schema["properties"], "read_date"])


@with_java
def test_spark_reads_the_files_of_a_delta_table_and_sums_exactly(
    lake: tuple[Path, int, Decimal], tmp_path: Path
) -> None:
    folder, count, price = lake
    python = environment("delta", requirements_of("delta")) / "python"
    merged = load([python, ROOT / "examples" / "delta" / "merge.py", folder, tmp_path / "delta"], b"")
    assert merged.returncode == 0, merged.stderr.decode()
    listed = load([python, "-c", FILES_OF_A_TABLE, tmp_path / "delta" / "sms"], b"")
    rows, found, columns = by_spark(*listed.stdout.decode().split())
    assert (rows, found) == (count, price)
    assert columns == sorted(PRODUCTS["sms"].schema["properties"])


def by_spark(*paths: Path | str) -> tuple[int, Decimal, list[str]]:
    """Return how many rows Spark counts, the sum of the prices, and the names of the columns."""
    done = load([environment("spark", ["pyspark==4.0.1", "setuptools"]) / "python", "-c", SPARK, *paths], b"")
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    rows, found, *columns = done.stdout.decode().splitlines()[-1].split(",")
    return int(rows), Decimal(found), columns
