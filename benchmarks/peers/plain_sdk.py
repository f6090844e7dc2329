# /// script
# requires-python = ">=3.10"
# dependencies = ["singer-sdk==0.54.9"]
# ///
"""The peer "plain Singer SDK" (singer-sdk 0.54.9, as the project): a tap as its cookiecutter and documentation have it.

One stream reads a report (`{"file": "report.zip"}`) through `zipfile` and `csv.DictReader` and converts the types in
`post_process`. Message writer, conformance level and state are the SDK's defaults.

What it cannot do:

* It checks little: a row that is too short has nulls, a value that is no number ends the run with `int`'s own words,
  and columns that the schema does not have are dropped with a warning.
* The state is written at the end, since rows come newest first; an interrupted run starts over.
"""

from __future__ import annotations

import csv
import io
import zipfile
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from singer_sdk import Stream, Tap
from singer_sdk import typing as th

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk.helpers.types import Context, Record


class SmsStream(Stream):
    """SMS records of a report."""

    name = "sms"
    primary_keys = ("id",)
    replication_key = "date_received"
    schema = th.PropertiesList(
        th.Property("account_id", th.StringType),
        th.Property("message_id", th.StringType),
        th.Property("account_ref", th.StringType),
        th.Property("client_ref", th.StringType),
        th.Property("direction", th.StringType),
        th.Property("from", th.StringType),
        th.Property("to", th.StringType),
        th.Property("forced_from", th.StringType),
        th.Property("changed_from", th.StringType),
        th.Property("concatenated", th.BooleanType),
        th.Property("message_body", th.StringType),
        th.Property("network", th.StringType),
        th.Property("network_name", th.StringType),
        th.Property("country", th.StringType),
        th.Property("country_name", th.StringType),
        th.Property("date_received", th.DateTimeType),
        th.Property("date_finalized", th.DateTimeType),
        th.Property("latency", th.IntegerType),
        th.Property("status", th.StringType),
        th.Property("error_code", th.StringType),
        th.Property("error_code_description", th.StringType),
        th.Property("currency", th.StringType),
        th.Property("total_price", th.NumberType),
        th.Property("id", th.StringType, required=True),
        th.Property("dcs", th.StringType),
        th.Property("validity_period", th.StringType),
        th.Property("ip_address", th.StringType),
        th.Property("udh", th.StringType),
        th.Property("workflow_id", th.StringType),
        th.Property("tier_volume", th.StringType),
    ).to_dict()

    def get_records(self, context: Context | None) -> Iterator[Record]:  # noqa: ARG002 - the SDK's signature
        """Read the rows of the archive's CSV files."""
        with zipfile.ZipFile(self.config["file"]) as archive:
            for name in archive.namelist():
                if name.endswith(".csv"):
                    with archive.open(name) as member:
                        yield from csv.DictReader(io.TextIOWrapper(member, "utf-8", newline=""))

    def post_process(self, row: Record, context: Context | None = None) -> Record:  # noqa: ARG002 - the SDK's signature
        """Convert text to types."""
        record: dict[str, Any] = {name: value or None for name, value in row.items()}
        if record["latency"] is not None:
            record["latency"] = int(record["latency"])
        if record["total_price"] is not None:
            record["total_price"] = Decimal(record["total_price"])
        if record.get("concatenated") is not None:
            record["concatenated"] = record["concatenated"] == "TRUE"
        return record


class TapPlain(Tap):
    """The tap."""

    name = "tap-plain"
    config_jsonschema: ClassVar[dict[str, Any]] = th.PropertiesList(
        th.Property("file", th.StringType, required=True, description="Path of a report, a zip of CSV files"),
    ).to_dict()

    def discover_streams(self) -> list[SmsStream]:
        """The one stream."""
        return [SmsStream(self)]


if __name__ == "__main__":
    TapPlain.cli()
