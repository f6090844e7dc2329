"""What holds whatever happens: each check is one thing that users rely on."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import portion

from tap_vonage_reports.config.schema import KEEP
from tap_vonage_reports.odd_text import MARK
from tap_vonage_reports.products import PRODUCTS, Product
from tap_vonage_reports.records.odd_rows import mend_row
from tap_vonage_reports.records.parser import RecordParser
from tap_vonage_reports.records.personal_data import PersonalData
from tap_vonage_reports.redaction import basic_token, encodings
from tap_vonage_reports.sandbox import Fault
from tap_vonage_reports.sandbox.odd_bytes import LONG_NUMBER, ODD_TEXT
from tap_vonage_reports.sources import personal_kinds
from tests.chaos.plans import LEFT_BEHIND, SALT
from tests.chaos.story import moment
from tests.chaos.target import plain

if TYPE_CHECKING:
    from tests.chaos.story import Happened, Part, Story
    from tests.chaos.target import Row

BY_ITSELF = {0, 1}
EXIT_CODES = {"kill": {-9}, "term": {143, -15}, "int": {130, -2}, "pipe": {1}}
"""SIGTERM and SIGINT have their usual effect while the program is still being loaded."""
SECONDS_TO_END = 60
"""The tap takes two at most, and a busy machine its time."""
JITTER_SECONDS = 0.1
"""A request that no limit holds, such as one that follows a redirect, counts as it leaves."""
ANSWER_SECONDS = 5
SHORTEST_DATUM = 6
READ_LATE = ("read", "delivered")
"""A message may be read any time after its delivery, no bound is stated [likely]: later than any lookback, too."""
DECODED = {
    ODD_TEXT["half-pair"].stand_in: "\ud83d",
    ODD_TEXT["byte"].stand_in: MARK + "\xe9",
    LONG_NUMBER.stand_in: LONG_NUMBER.json.decode(),
}
BATCH_FILE = re.compile(r"-\d{5}\.(parquet|jsonl(\.gz)?)(\.unfinished)?$|-\d{5}\.unannounced$")
PERSONAL = frozenset(
    name for product in PRODUCTS.values() for name, spec in product.schema["properties"].items() if "personal" in spec
)


def exit_codes_are_right(_story: Story, run: Happened) -> None:
    """0 or 1 by itself, 128 + signal on a signal, and no traceback."""
    allowed = BY_ITSELF | (EXIT_CODES.get(run.plan.ending, set()) if run.ended.disturbed else set())
    assert run.ended.code in allowed, f"{run}: exit code {run.ended.code}:\n{run.ended.end_of_log}"
    assert "Traceback" not in run.ended.log, f"{run}: a traceback:\n{run.ended.end_of_log}"
    assert "Unexpected" not in run.ended.log, f"{run}: an unexpected error:\n{run.ended.end_of_log}"


def it_ends_in_time(_story: Story, run: Happened) -> None:
    """Soon after a signal, and at all otherwise."""
    seconds = run.ended.seconds_to_end
    limit = SECONDS_TO_END if run.ended.code in EXIT_CODES["term"] | EXIT_CODES["int"] else float("inf")
    assert seconds < limit, f"{run}: it took {seconds:.1f} s to end:\n{run.ended.end_of_log}"


def no_temporary_file_stays(story: Story, run: Happened) -> None:
    """Not even when the process is killed, but for BATCH files that no message names. The next run removes those."""
    files = {path.name for path in story.files.rglob("*") if path.is_file()}
    left = (files - story.target.files) | {path.name for path in story.temporary.iterdir()}
    new = left - story.left
    assert run.ended.code < 0 or not new, f"{run}: files stay: {new}"
    assert all(BATCH_FILE.search(name) for name in new), f"{run}: files stay: {new}"
    assert run.ended.code != 0 or not left, f"{run}: files of a killed run stay: {left}"
    story.left = left


def no_secret_is_in_the_log(story: Story, run: Happened) -> None:
    """In no spelling."""
    plan = story.plan
    needles = encodings([plan.secret, basic_token(story.sandbox.api_key, plan.secret), SALT])
    assert not any(needle in run.ended.log for needle in needles), f"{run}: a secret is in the log"


def no_personal_datum_gets_out(story: Story, run: Happened) -> None:
    """Not into the log, and not into records that should not have any."""
    values = {
        str(row[name])
        for listed in story.listed.values()
        for row in listed[-1].values()
        for name in PERSONAL & row.keys()
        if row[name] and len(str(row[name])) >= SHORTEST_DATUM and not str(row[name]).isalpha()  # "unknown" is no name
    }
    words = set(re.split(r"[\s\"',;()\[\]{}=]+", run.ended.log))
    found = values & words or {value for value in values if " " in value and value in run.ended.log}
    assert not found, f"{run}: personal data in the log: {sorted(found)[:3]}"
    if story.plan.settings.get("personal_data", KEEP) != KEEP:
        shown = {str(value) for row in run.came for name, value in row.items() if name in PERSONAL}
        assert not shown & values, f"{run}: personal data in the records"


def requests_keep_to_the_rate(story: Story, run: Happened) -> None:
    """By the clock of the limit."""
    for synchronous, setting in ((True, "max_requests_per_second"), (False, "max_report_requests_per_second")):
        limit = story.plan.settings[setting]
        times = sorted(sent.at for sent in run.ended.sent if sent.synchronous is synchronous)
        shortest = min((later - at for at, later in zip(times, times[limit:], strict=False)), default=1.0)
        assert shortest > 1 - JITTER_SECONDS, f"{run}: {limit + 1} requests in {shortest:.2f} s"


def reports_keep_to_the_budget(story: Story, run: Happened) -> None:
    """Those that earlier runs have left at work apart."""
    if "| ERROR" in run.ended.log or any(each.fault in LEFT_BEHIND for each in run.plan.disturbances):
        return  # a partition that fails gives up its reports, too
    budget, most = story.plan.settings["max_concurrent_reports"], story.sandbox.requests.most_in_flight
    assert most <= budget + run.unfinished, f"{run}: {most} reports, {budget} allowed, {run.unfinished} were at work"


def no_bookmark_is_ahead_of_the_data(story: Story, run: Happened) -> None:
    """What is newly covered has been delivered."""
    for part in story.parts:
        rows = story.target.rows[part.product.stream]
        for interval in story.covered(part) - run.before[part]:
            # What an earlier run has begun holds what was listed then.
            began = [number for window, number in run.begun[part].items() if window.overlaps(interval)]
            listed = story.listed[part][min(began, default=run.number)]
            lost = [
                key
                for key, row in listed.items()
                if key not in rows and moment(row[part.product.date_field]) in interval
            ]
            assert not lost, f"{run}: {name_of(story, part)}: {interval} is covered, {len(lost)} rows have not come"


def what_succeeds_has_read_everything(story: Story, run: Happened) -> None:
    """Exit code 0: every partition is read to the end, or it was skipped aloud."""
    if run.ended.code != 0:
        return
    assert "could not be read" not in run.ended.log, f"{run}: exit code 0 although something could not be read"
    for part in story.parts:
        name = name_of(story, part)
        missing = portion.closedopen(story.start, story.end) - story.covered(part)
        late = missing and missing.upper - missing.lower > timedelta(seconds=ANSWER_SECONDS)
        names = (name, name.replace(name.rpartition(", ")[2], "all accounts"))
        skipped = any(f"{each}: skipped" in run.ended.log for each in names)
        assert not late or skipped, f"{run}: exit code 0, and {name} misses {missing}"


def everything_has_arrived_and_nothing_else(story: Story) -> None:
    """As it is now, to the last digit."""
    for product in PRODUCTS.values():
        parser, found = _parser(story, product), story.target.rows[product.stream]
        truth = {
            key: row for part in story.parts if part.product is product for key, row in story.listed[part][-1].items()
        }
        assert not truth.keys() - found.keys(), f"{product.stream}: {len(truth.keys() - found.keys())} rows are lost"
        assert not found.keys() - truth.keys(), (
            f"{product.stream}: {len(found.keys() - truth.keys())} rows are invented"
        )
        for key, raw in truth.items():
            expected, record = parser.parse(as_decoded(raw)), found[key]
            assert expected.keys() == record.keys(), (
                f"{product.stream}: other columns: {expected.keys() ^ record.keys()}"
            )
            pairs = {name: (plain(name, value), plain(name, record[name])) for name, value in expected.items()}
            different = {name: pair for name, pair in pairs.items() if pair[0] != pair[1] and pair != READ_LATE}
            if Fault.MISSING_COLUMNS in story.plan.quirks:  # others are missing on a page than in a report
                different.pop("_extra", None)
                different = {name: pair for name, pair in different.items() if None not in pair}
            assert not different, f"{product.stream}, {key}: expected and found differ: {different}"


def _parser(story: Story, product: Product) -> RecordParser:
    personal = PersonalData(story.plan.settings.get("personal_data", KEEP), SALT, product.schema, personal_kinds())
    fields = product.schema["properties"].keys() - personal.dropped_columns
    return RecordParser(product.schema, product.aliases, fields=fields, transform=personal.transform)


def as_decoded(raw: Row) -> Row:
    """A row of the sandbox as the tap has decoded it, where it holds what stands for odd bytes."""
    row = dict(raw)
    for name, value in raw.items():
        if isinstance(value, str):
            for stand_in, decoded in DECODED.items():
                row[name] = row[name].replace(stand_in, decoded)
    return mend_row(row)


def name_of(story: Story, part: Part) -> str:
    """A partition as the log names it."""
    account = "primary account" if part.account == story.sandbox.api_key else f"account {part.account}"
    return ", ".join(filter(None, (part.product.stream, part.direction, account)))


AFTER_EACH_RUN = (
    exit_codes_are_right,
    it_ends_in_time,
    no_temporary_file_stays,
    no_secret_is_in_the_log,
    no_personal_datum_gets_out,
    requests_keep_to_the_rate,
    reports_keep_to_the_budget,
    no_bookmark_is_ahead_of_the_data,
    what_succeeds_has_read_everything,
)
AT_THE_END = (everything_has_arrived_and_nothing_else,)
