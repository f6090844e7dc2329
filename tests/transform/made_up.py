"""Marts that no traffic of the sandbox gives: some hostile, some empty, in DuckDB files without dbt."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import yaml

from tests.transform.staging import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

Row = dict[str, Any]
MARTS = PROJECT / "models" / "marts" / "_marts.yml"
COLUMNS: dict[str, list[str]] = {
    model["name"]: [column["name"] for column in model["columns"]]
    for model in yaml.safe_load(MARTS.read_text(encoding="utf-8"))["models"]
}
"""The columns of each model, as the project describes them."""
TYPES = {
    "date": "usage_date month week date_day",
    "boolean": "is_own is_certain is_equal is_anomaly is_suspended is_weekend has_plan",
    "timestamp": "first_row_at newest_row_at newest_load_at first_used_at last_used_at created_at finalized_at",
    "double": "actual deviation p50_ms p95_ms product_refetched_share",
    # Sums of counts are decimals in PostgreSQL.
    "decimal(18, 0)": "records counted_records quantity sent succeeded failed pending unknown seen known_outcomes "
    "requests rows_pulled product_rows_pulled product_rows_held all_units units billed_units free_units lines "
    "doubtful_records",
    "decimal(38, 10)": "total_price counted_price lost_price price cost amount invoiced expected difference "
    "counted_elsewhere doubtful_cost late balance credit_limit",
}
_TYPES = {name: kind for kind, names in TYPES.items() for name in names.split()}

LAST = date(2026, 11, 28)
FIRST = LAST - timedelta(days=39)


def days(count: int = 40) -> list[date]:
    """Return the last days, up to LAST."""
    return [LAST - timedelta(days=number) for number in reversed(range(count))]


def month_of(day: date) -> date:
    """Return the first day of a month."""
    return day.replace(day=1)


@dataclass
class MadeUp:
    """Marts, to be filled.

    Attributes:
        rows: The rows of each mart.
        time_zone: The time zone of the days.
    """

    rows: dict[str, list[Row]] = field(default_factory=lambda: {name: [] for name in COLUMNS})
    time_zone: str = "UTC"

    def usage(self, day: date, price: Any = 1, **columns: Any) -> None:
        """Add usage of a day, with its line of a bill at cost + 20%."""
        common: Row = {"stream": "sms", "product": "SMS", "account_id": "acc00001", "direction": "outbound"}
        common |= {"country": "DE", "status_class": "succeeded", "unit": "message part", "currency": "EUR"}
        row: Row = common | {"usage_date": day, "records": 10, "quantity": 10} | columns
        amount = Decimal(str(price or 0))
        row |= {"total_price": amount} | {"counted_records": row["records"], "counted_price": amount} | columns
        self.rows["vonage__daily_usage"].append(row)
        shared = ("account_id", "product", "unit", "currency", "records")
        line: Row = {name: row[name] for name in shared} | {"month": month_of(day), "has_plan": True}
        line |= {"account_id": row["account_id"] or "unassigned", "units": row["quantity"], "markup_percent": 20}
        line |= {"cost": row["counted_price"], "amount": round(row["counted_price"] * Decimal("1.2"), 2)}
        self.rows["vonage__customer_billing"].append(line)

    def account(self, account_id: str, name: str | None = None, *, is_own: bool = True) -> None:
        """Add an account."""
        row = {"account_id": account_id, "account_name": name or account_id, "is_own": is_own}
        self.rows["dim_vonage__account"].append(row)

    def delivery(self, day: date, sent: int = 10, **columns: Any) -> None:
        """Add messages of a day, of which one is pending and one failed."""
        row: Row = {"usage_date": day, "product": "SMS", "country": "DE", "sent": sent, "succeeded": sent - 2}
        row |= {"failed": 1, "pending": 1, "unknown": 0, "seen": 0, "known_outcomes": sent - 1}
        self.rows["vonage__delivery"].append(row | columns)

    def invoice(self, invoice: str, **columns: Any) -> None:
        """Add a line of an invoice for October, which is right."""
        row: Row = {"invoice": invoice, "month": date(2026, 10, 1), "time_zone": "UTC", "product": "SMS"}
        row["billed_on"] = invoice
        row |= {
            "currency": "EUR",
            "usage_currency": "EUR",
            "invoiced": 10,
            "expected": 10,
            "difference": 0,
            "is_equal": True,
        }
        self.rows["vonage__invoice_reconciliation"].append(row | columns)

    def anomaly(self, day: date, **columns: Any) -> None:
        """Add an unusual day."""
        row: Row = {"usage_date": day, "product": "SMS", "account_id": "acc00001", "currency": "EUR"}
        row |= {"metric": "records", "expected": 10, "actual": 100, "difference": 90, "is_anomaly": True}
        self.rows["vonage__anomalies"].append(row | columns)

    def latency(self, **columns: Any) -> None:
        """Add the latency of a month."""
        row: Row = {"month": month_of(LAST), "product": "SMS", "country": "DE", "records": 100}
        self.rows["vonage__latency"].append(row | {"p50_ms": 1200, "p95_ms": 45_000} | columns)

    def loss(self, price: Any = 1, **columns: Any) -> None:
        """Add the price of failures of a month."""
        row: Row = {"month": month_of(LAST), "product": "SMS", "account_id": "acc00001", "status": "failed"}
        row |= {"error_code": "5", "currency": "EUR", "records": 3, "lost_price": price}
        self.rows["vonage__spend_lost"].append(row | columns)

    def reading(self, price: Any = 1, **columns: Any) -> None:
        """Add what reading cost in a month."""
        row: Row = {"month": month_of(LAST), "product": "SMS", "job_type": "async", "currency": "EUR", "requests": 5}
        row |= {"rows_pulled": 5000, "price": price, "product_refetched_share": 0.1}
        self.rows["vonage__extraction_cost"].append(row | columns)

    def few(self) -> None:
        """Add the usage of a day: a page that has few charts is made in less time."""
        self.usage(LAST, 2)
        self.usage(LAST, 1, stream="voice_call", product="VOICE-CALL", unit="second")
        self.account("acc00001", "One")
        self.fresh()

    def common(self) -> None:
        """Add what stands on every page: some of each section."""
        for day in days():
            self.usage(day, 2)
            self.usage(day, 1, stream="voice_call", product="VOICE-CALL", unit="second")
            self.delivery(day)
            self.delivery(day, product="MESSAGES", country="GB", sent=20)
        self.account("acc00001", "One")
        self.invoice("A-1")
        self.anomaly(LAST - timedelta(days=3))
        self.latency()
        self.latency(product="MESSAGES", channel="whatsapp")
        self.loss()
        self.reading()
        self.fresh()

    def fresh(self) -> None:
        """Add the streams."""
        at = datetime(2026, 11, 28, 23, 59)  # noqa: DTZ001 - as the marts have it
        for stream, records in (("sms", 400), ("amd", 0)):
            row: Row = {"stream": stream, "product": stream.upper(), "records": records}
            times: Row = {"newest_row_at": at, "newest_load_at": at} if records else {}
            self.rows["vonage__freshness"].append(row | times)

    def write(self, path: Path) -> None:
        """Write the marts into a DuckDB file. The days are those of the usage, without a gap.

        Accounts with usage that were not added are yours, and have no names.
        """
        known = {row["account_id"] for row in self.rows["dim_vonage__account"]} | {None}
        for account in {row["account_id"] for row in self.rows["vonage__daily_usage"]} - known:
            self.account(account)
        used = [row["usage_date"] for row in self.rows["vonage__daily_usage"]]
        count = (max(used) - min(used)).days + 1 if used else 0
        self.rows["dim_vonage__date"] = [
            {"date_day": min(used) + timedelta(days=number), "time_zone": self.time_zone} for number in range(count)
        ]
        with duckdb.connect(str(path)) as database:
            database.execute("create schema analytics")
            database.execute("set search_path = 'analytics'")
            for mart, columns in COLUMNS.items():
                heads = ", ".join(f'"{name}" {_type(mart, name)}' for name in columns)
                database.execute(f'create table "{mart}" ({heads})')
                rows = self.rows[mart]
                if rows:
                    marks = ", ".join([f"({', '.join('?' for _ in columns)})"] * len(rows))
                    values = [row.get(name) for row in rows for name in columns]
                    database.execute(f'insert into "{mart}" values {marks}', values)  # noqa: S608 - the models' names


def _type(mart: str, name: str) -> str:
    if mart == "vonage__anomalies" and name in {"expected", "difference"}:
        return "double"
    return _TYPES.get(name, "varchar")
