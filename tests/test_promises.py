"""Every promise is kept by a test that carries its words: `@pytest.mark.promise(...)`."""

from __future__ import annotations

import ast
from pathlib import Path

PROMISES = (
    # What it is
    "The call and message records arrive complete, and exact to the last digit of every price.",
    "They are kept up to date while their status still changes.",
    "A row may be emitted again, and the key id makes it one row in any target that upserts.",
    "Nothing is lost. The bookmark only moves over time that was read completely.",
    "Unknown is never treated as empty.",
    "It resumes. Killed at any instant, the next run goes on at the page, or the report, where the last one stopped.",
    "No report is paid for twice, also when its state was lost on the way.",
    "It is exact. The same CDR gives the same record, byte for byte, by the sync path, the async path and BATCH files.",
    "Money is a decimal with every digit, as number or as text with x-singer.decimal.",
    "In every loader's table the digits that the API sent.",
    "It is fast. It runs at the API's rate limit, not at its latency.",
    "It runs in flat memory.",
    "It is quiet and clear. One line of progress per window.",
    "An error says what failed, why, and what to do.",
    "No secret and no personal datum ever reaches a log line or an error message.",
    # Failure
    "Retried: 429, 5xx, timeouts, broken connections, truncated or non-JSON bodies, failed downloads.",
    "Retry-After is honored.",
    "Never retried: 400, 401, 403, 404, 409, 422.",
    "A refusal that concerns one product or account ends that partition, the other partitions and streams go on.",
    "A summary at the end names it with the API's title, the names of the invalid parameters and what to do.",
    "It makes the exit code 1.",
    "A product that the API calls unavailable and that was never read is skipped with a warning.",
    "When every selected stream is refused, the run fails.",
    "Wrong credentials end the run at once.",
    "Rate limits are kept on our side, shared by all streams and threads.",
    "SIGTERM and Ctrl-C: waits are interrupted, state is written, the process ends within two seconds, non-zero.",
    "Requested reports stay in state for the next run.",
    # Privacy and security
    "Basic credentials go to api_url only, never to a host from a link or a redirect.",
    "Secrets are redacted by value from everything that is logged.",
    "Phone numbers, email and IP addresses, names and bodies never appear in logs or errors.",
    "personal_data: hash writes salted SHA-256, stable for a salt, so that joins work.",
    "personal_data: drop leaves the columns out of schema and records.",
    "Both hold for RECORD and BATCH alike.",
    "BATCH honors field selection.",
    "With stream_maps set, BATCH is refused with a clear message.",
    "Temporary files are private to the user and removed on every way out.",
    "A member that inflates beyond what its row count explains is an error.",
)
"""What the tap promises its users: what it is, how it fails, and what it keeps to itself."""


def test_every_promise_has_a_test_that_carries_its_words() -> None:
    kept = {
        str(decorator.args[0].value)
        for path in Path(__file__).parent.rglob("test_*.py")
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef) and function.name.startswith("test_")
        for decorator in function.decorator_list
        if isinstance(decorator, ast.Call)
        and ast.unparse(decorator.func) == "pytest.mark.promise"
        and isinstance(decorator.args[0], ast.Constant)
    }
    assert kept == set(PROMISES)
