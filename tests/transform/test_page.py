"""The page of `./run report` says what it shows, for any marts: none, many, odd names, credits."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import timedelta
from decimal import Decimal
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from tests.transform.cases import CASES, CURRENCIES, MANY, ODD_NAMES, made
from tests.transform.made_up import LAST
from tests.transform.read_page import Page
from tests.transform.staging import ROOT

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from tests.transform.read_page import Part, Table

ALLOWED = {"html", "head", "meta", "title", "style", "body", "header", "h1", "h2", "h3", "p", "div", "a", "b", "span"}
ALLOWED |= {"nav", "section", "figure", "figcaption", "details", "summary", "table", "thead", "tbody", "tr", "th", "td"}
ALLOWED |= {"svg", "g", "path", "text", "rect", "line", "defs", "clippath", "footer", "small", "code", "tspan"}
DAYS = "October 30 to November 28, 2026"
FIRST = LAST - timedelta(days=29)
COSTS = """
    select coalesce(currency, '(no currency)'), sum(counted_price) from vonage__daily_usage
    where usage_date between ? and ? group by 1 having sum(counted_price) <> 0
"""
PRICES = {
    "losses": "select currency, sum(lost_price) from vonage__spend_lost group by 1",
    "reading": "select currency, sum(price) from vonage__extraction_cost group by 1",
}
MAX_WIDTHS = {"narrow": 358, "wide": 772}
"""What is left on a phone of 390 pixels, and on a screen of 820."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the marts and the page of each case."""
    folder = tmp_path_factory.mktemp("pages")
    for name in CASES:
        made(name).write(folder / f"{name}.duckdb")
    command = [sys.executable, "-m", "tests.transform.draw", str(folder)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)  # noqa: S603 - this project
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def html_of(folder: Path, name: str) -> str:
    return (folder / f"{name}.html").read_text(encoding="utf-8")


@cache
def page_of(folder: Path, name: str) -> Page:
    return Page(html_of(folder, name))


def query(folder: Path, name: str, query: str, *days: date) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(folder / f"{name}.duckdb"), read_only=True) as database:
        database.execute("set search_path = 'analytics'")
        rows: list[tuple[Any, ...]] = database.execute(query, days).fetchall()
        return rows


def number(text: str) -> Decimal:
    """The number in a cell or tile; one that is less than a cent, or missing, is taken for none."""
    return (
        Decimal(0)
        if text.startswith(("<", ">")) or text == "-"
        else Decimal(text.replace(",", "").replace("\u2212", "-"))
    )


def sums(table: Table, head: str) -> dict[str, Decimal]:
    """The sums of a column by currency."""
    totals: dict[str, Decimal] = defaultdict(Decimal)
    for currency, cell in zip(table.column("Currency"), table.column(head), strict=True):
        totals[currency] += number(cell)
    return totals


def about(first: Decimal, second: Any) -> bool:
    """True if two sums differ by no more than the rounding of their rows."""
    return abs(first - Decimal(str(second))) < Decimal("1.5")


def part_of(folder: Path, case: str, part: str) -> Part:
    return page_of(folder, case).parts[part]


@pytest.mark.parametrize("case", CASES)
def test_every_page_is_html_of_its_own_tags_with_unique_ids(folder: Path, case: str) -> None:
    page = page_of(folder, case)
    assert page.tags <= ALLOWED
    assert [name for name, count in Counter(page.ids).items() if count > 1] == []


@pytest.mark.parametrize("case", CASES)
def test_every_chart_says_its_time_zone_and_has_its_numbers_as_a_table(folder: Path, case: str) -> None:
    zone = "Europe/Berlin" if case == "common" else "UTC"
    for part in page_of(folder, case).parts.values():
        assert all(f"2026 ({zone})." in caption for caption in part.captions)
        assert len(part.widths) == 2 * len(part.captions)
        assert part.tables or not part.captions


@pytest.mark.parametrize("case", CASES)
def test_no_chart_is_wider_than_the_screen(folder: Path, case: str) -> None:
    for part in page_of(folder, case).parts.values():
        assert [(size, width) for size, width in part.widths if width > MAX_WIDTHS[size]] == []


@pytest.mark.parametrize("case", [case for case in CASES if case != "nothing"])
def test_the_tiles_are_the_sums_of_the_marts_and_of_the_tables(folder: Path, case: str) -> None:
    page = page_of(folder, case)
    tiles = {f"{value} {words}" for _, value, words in page.tiles}
    costs = query(folder, case, COSTS, LAST.replace(day=1), LAST)
    found = [
        re.fullmatch(r"((?:[<>] )?[\u2212\d.,]+) (.*)", value) for _, value, words in page.tiles if "cost, " in words
    ]
    shown = {tile[2]: tile[1] for tile in found if tile}
    assert len(shown) == min(len(costs), 3)
    bills = page.parts["bill"].tables[0] if costs and case != "credits_equal_costs" else None
    for currency, cost in costs:
        row = next(row for row in page.parts["cost_by_day"].tables[0].rows if row[0] == currency)
        assert abs(number(row[2]) - cost) < Decimal("0.011")
        assert shown.get(currency, row[2]) == row[2]
        if bills:
            (total,) = [row for row in bills.totals if row[1] == currency]
            assert number(total[2]) == number(row[2])
            assert about(sums(bills, "Cost")[currency], cost)
    outcomes = "select sum(sent), sum(succeeded), sum(known_outcomes) from vonage__delivery where usage_date >= ?"
    ((sent, succeeded, known),) = query(folder, case, outcomes, FIRST)
    assert any(f"{sent or 0:,} messages sent" in tile for tile in tiles) == bool(sent)
    if sent:
        for table in page.parts["delivery"].tables:
            assert sum(map(number, table.column("Sent"))) == sent
            assert sum(map(number, table.column("Delivered"))) == succeeded
    assert any("delivered, of known" in tile for tile in tiles) == bool(known)
    unusual = "select count(*) filter (where is_anomaly), count(*) from vonage__anomalies where usage_date >= ?"
    ((odd, compared),) = query(folder, case, unusual, FIRST)
    ((wrong,),) = query(folder, case, "select count(*) from vonage__invoice_reconciliation where not is_equal")
    assert any(tile.startswith(f"{odd} unusual, of {compared} value") for tile in tiles) == bool(compared)
    if wrong:
        assert any(tile == f"{wrong} differences from invoices" for tile in tiles)
        invoices = page.parts["invoice"].tables[0]
        assert sum(map(number, invoices.column("Differ"))) == wrong
        assert [(sum(map(number, invoices.column("Compared"))),)] == query(
            folder, case, "select count(*) from vonage__invoice_reconciliation"
        )


@pytest.mark.parametrize("case", ["common", "currencies", "negative", "many", "names", "credits_equal_costs"])
def test_tables_add_up_to_the_price_of_their_time(folder: Path, case: str) -> None:
    parts = page_of(folder, case).parts
    costs = query(folder, case, COSTS, FIRST, LAST)
    by_account, by_country = parts["spend"].tables
    for currency, cost in costs:
        assert about(sums(by_account, "Price")[currency], cost)
        assert about(sums(by_country, "Price")[currency], cost)
    for part, mart in PRICES.items():
        for currency, price in query(folder, case, mart):
            assert about(sums(parts[part].tables[0], "Price")[currency], price)


def test_currencies_without_a_chart_are_named_and_stand_in_the_tables(folder: Path) -> None:
    parts = page_of(folder, "currencies").parts
    everything = {"EUR", *CURRENCIES, "(no currency)"}
    for name in ("cost_by_day", "spend", "losses", "reading"):
        part = parts[name]
        named = re.findall(r"Without a chart: ([^.]*)\.", part.text)
        assert named, name
        cells = {cell for table in part.tables for row in table.rows for cell in row}
        for names in named:
            left_out = set(re.split(", | and ", names))
            assert left_out < everything
            assert left_out <= cells
    assert len(parts["cost_by_day"].captions) == 3
    assert {row[0] for row in parts["cost_by_day"].tables[0].rows} == everything
    assert ("cost_by_day", "+ 4 currencies", "JPY, SEK, USD and 1 other") in page_of(folder, "currencies").tiles


def test_all_invoices_of_a_month_are_shown(folder: Path) -> None:
    part = part_of(folder, "invoices", "invoice")
    overview, wrong, lines = part.tables
    assert [(row[0], row[1], row[-2], row[-1]) for row in overview.rows] == [
        ("A-1", "October 2026", "1", "0"),
        ("A-2", "October 2026", "3", "3"),
        ("<B-1>", "September 2026", "40", "40"),
    ]
    assert Counter(lines.column("Invoice")) == {"A-1": 1, "A-2": 3, "<B-1>": 40}
    assert "One" in lines.column("Account")
    assert "30 of 43 rows" in part.text
    assert sums(wrong, "Difference") == {"EUR": 5 * 42, "CHF": 0}


def test_records_without_a_line_do_not_cut_off_a_line_that_differs(folder: Path) -> None:
    wrong = part_of(folder, "open_month", "invoice").tables[1]
    assert wrong.column("Invoice")[0] == "A-1"


def test_records_in_another_currency_than_the_line_are_not_added_up_with_it(folder: Path) -> None:
    (line,) = [row for row in part_of(folder, "invoices", "invoice").tables[2].rows if "CHF" in row]
    assert line[4:] == ["10.00", "-", "-", "another currency (records: 7.00 USD)"]


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("common", "No message of this time was found in two products."),
        ("products", "Over all time, 7 rows are counted although another product may list the same message"),
        ("twice_counted_once", "counts in both: 4 messages here are also in another product."),
        ("twice_counted_twice", "counted in each of them (vonage_count_once is off)."),
        ("twice_left_out", "counts once here: 4 rows of the other product are left out."),
    ],
)
def test_delivery_says_whether_a_message_of_two_products_counts_twice(folder: Path, case: str, words: str) -> None:
    assert words in part_of(folder, case, "delivery").text


def test_accounts_of_one_name_stay_apart_by_their_keys(folder: Path) -> None:
    part = part_of(folder, "names", "spend")
    names = {"Acme (same0001)", "acme (same0002)", "Branch (same0003aaaa)", "Branch (same0003bbbb)", "One"}
    assert names <= set(part.tables[0].column("Account"))
    assert {"unassigned", "unassigned (odd00009)"} <= set(part.tables[0].column("Account"))
    assert {"Branch (same0003aaaa)", "unassigned"} <= set(part.labels)
    assert number(part.tables[0].rows[0][3]) == 300
    assert part.tables[0].rows[0][0] == "unassigned"


def test_odd_names_are_text_in_one_direction_and_none_is_cut_in_a_table(folder: Path) -> None:
    page = page_of(folder, "names")
    names = page.parts["spend"].tables[0].column("Account")
    assert {ODD_NAMES[key] for key in ("odd00001", "odd00002", "odd00003", "odd00005", "odd00006")} <= set(names)
    assert {"turned", "two lines and `${ticks}`"} <= set(names)
    assert not {"script", "i"} & page.tags
    assert "<script" not in html_of(folder, "names")


def test_names_in_charts_are_whole_or_shortened_in_the_middle(folder: Path) -> None:
    labels = part_of(folder, "names", "spend").labels
    long = ODD_NAMES["odd00005"]
    assert long in labels
    assert [label for label in labels if "\u2026" in label and label.startswith("A very") and label.endswith("KGaA")]
    assert not [label for label in labels if label.endswith("\u2026")]


def test_a_chart_or_table_that_is_cut_says_so(folder: Path) -> None:
    parts = page_of(folder, "many").parts
    assert f"The 12 largest of {MANY + 51} accounts" in parts["spend"].captions[0]
    assert "The 12 largest of 51 countries" in parts["spend"].captions[1]
    assert "The 12 largest of 52 countries" in parts["delivery"].captions[-1]
    assert "The 12 largest of 52 " in parts["latency"].captions[0]
    assert "The 12 largest of 51 products" in parts["losses"].captions[0]
    assert "The 12 largest of 50 products" in parts["reading"].captions[0]
    assert f"{MANY} of {MANY + 51} rows" in parts["spend"].text
    assert parts["spend"].tables[0].rows[-1][0] == "51 others"
    assert "30 of 235 rows" in parts["bill"].text
    assert "The 20 largest of 251" in parts["anomalies"].text


def test_counts_of_records_have_no_cents_and_amounts_have_their_currency(folder: Path) -> None:
    rows = part_of(folder, "names", "anomalies").tables[0].rows
    assert {tuple(row[3:]) for row in rows} == {
        ("records", "100", "10", "90"),
        ("cost in EUR", "100.00", "10.00", "90.00"),
    }


def test_unusual_days_are_told_beside_how_many_could_be_compared(folder: Path) -> None:
    assert "4 values of 3 days could be compared." in part_of(folder, "names", "anomalies").text
    assert "Not known yet: no value has four weeks before it." in part_of(folder, "one_day", "anomalies").text
    assert ("anomalies", "3", "unusual, of 4 values compared") in page_of(folder, "names").tiles


def test_products_that_are_added_up_as_others_are_named(folder: Path) -> None:
    part = part_of(folder, "products", "cost_by_day")
    assert part.captions[0].endswith("Others: MESSAGES, PRODUCT-1, PRODUCT-2, PRODUCT-3, SMS and VOICE-CALL.")
    assert part.tables[1].heads[-1] == "others"
    assert number(part.tables[1].rows[0][-1]) == 2 + 1 + 5 + 0 + 1 + 2 + 3


def test_days_whose_credits_equal_their_costs_are_no_error_and_their_accounts_are_shown(folder: Path) -> None:
    parts = page_of(folder, "credits_equal_costs").parts
    by_account, by_country = parts["spend"].tables
    assert {row[3] for row in by_account.rows if row[1] == "EUR"} == {"150.00", "\u2212150.00"}
    assert {row[3] for row in by_country.rows if row[1] == "EUR"} == {"150.00", "\u2212150.00"}


def test_a_credit_is_a_negative_bar_and_a_negative_sum(folder: Path) -> None:
    parts = page_of(folder, "negative").parts
    assert ("cost_by_day", "\u221256.00 EUR", "cost, November 1 to 28, 2026") in page_of(folder, "negative").tiles
    assert "\u221260.00 in 30 days" in parts["cost_by_day"].text
    assert {"\u221290.00", "30.00"} <= set(parts["spend"].labels)


def test_a_database_without_models_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    duckdb.connect(str(tmp_path / "loaded.duckdb")).close()
    command = [sys.executable, "-m", "transform.page", str(tmp_path / "loaded.duckdb")]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)  # noqa: S603 - this project
    assert done.returncode == 1
    assert done.stderr.startswith("The models in the schema analytics cannot be read: ")
    assert done.stderr.endswith("docs/answers.md.\n")
    assert done.stderr.count("\n") == 1
    assert ".." not in done.stderr


def test_no_rows_are_one_sentence(folder: Path) -> None:
    page = page_of(folder, "nothing")
    assert set(page.parts) == {""}
    assert "The models have no rows." in page.parts[""].text


def test_a_single_day_is_called_one_day(folder: Path) -> None:
    page = page_of(folder, "one_day")
    assert {words for _, _, words in page.tiles} >= {"cost, November 1 to 28, 2026", "messages sent in 1 day"}
    assert page.parts["delivery"].captions[0] == "November 28, 2026 (UTC)."
    assert len(page.parts["cost_by_day"].tables[1].rows) == 1


def test_a_price_below_a_cent_is_not_called_nothing(folder: Path) -> None:
    part = part_of(folder, "one_product_without_accounts", "cost_by_day")
    assert part.tables[0].rows == [["EUR", "< 0.01", "< 0.01"]]
    assert not [label for label in part.labels if re.fullmatch(r"[\d.]+m|\u00b5", label)]
    assert "0.0001" in part.labels


def test_records_without_prices_are_said_to_have_none(folder: Path) -> None:
    parts = page_of(folder, "without_prices").parts
    assert "No record has a price in this time." in parts["cost_by_day"].text
    assert "No record has a price in this time." in parts["spend"].text
    assert "No outcome is known yet." in parts["delivery"].text
    assert [words for _, _, words in page_of(folder, "without_prices").tiles if "cost" in words] == []
    assert "No invoice was entered." in parts["invoice"].text


def test_lines_without_a_plan_are_said_to_be_billed_at_cost(folder: Path) -> None:
    part = part_of(folder, "only_a_future_plan", "bill")
    assert "2 of 2 lines have no plan: billed at cost." in part.text
    assert {row[4] for row in part.tables[0].rows} == {"0.00"}


def test_what_a_bill_may_have_twice_is_one_sentence(folder: Path) -> None:
    words = "Of the cost, 1.25 EUR and 0.75 USD may be billed twice, because another product may list the same messages"
    assert words in part_of(folder, "doubtful_bills", "bill").text
    assert "billed twice" not in part_of(folder, "common", "bill").text


def test_of_several_invoices_of_a_month_those_with_the_line_are_shown(folder: Path) -> None:
    for table in part_of(folder, "several_invoices", "invoice").tables[1:]:
        assert table.column("Billed on") == ["A-2", "A-1, A-2"]
    assert "Billed on" not in part_of(folder, "invoices", "invoice").tables[-1].heads


def test_the_bills_of_the_month_before_are_there_with_the_days_that_they_have(folder: Path) -> None:
    part = part_of(folder, "common", "bill")
    assert "The bills of October 20 to 31, 2026" in part.text
    assert part.tables[-1].rows == [
        ["One", "EUR", "36.00", "43.20", "7.20"],
        ["All customers", "EUR", "36.00", "43.20", "7.20"],
    ]


@pytest.mark.parametrize("case", ["common", "many", "currencies"])
def test_the_largest_come_first(folder: Path, case: str) -> None:
    for table in part_of(folder, case, "spend").tables:
        rows = [row for row in table.rows if row[1] == "EUR" and "other" not in row[0]]
        assert all(abs(number(first[3])) >= abs(number(second[3])) for first, second in pairwise(rows))
