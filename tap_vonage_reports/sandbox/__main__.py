"""Command line of `vonage-reports-sandbox`: the Reports API on this machine, to try a pipeline without an account."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from functools import partial
from typing import TYPE_CHECKING

from tap_vonage_reports.products import PRODUCTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tap_vonage_reports.sandbox.sandbox import Sandbox

try:
    from tap_vonage_reports.sandbox.accounts import DEMO_KEY, DEMO_SECRET
    from tap_vonage_reports.sandbox.clock import Clock
    from tap_vonage_reports.sandbox.exchange import MAX_REPORTS
    from tap_vonage_reports.sandbox.faults import ABOUT, GROUPS, Faults
    from tap_vonage_reports.sandbox.sandbox import Sandbox as _Sandbox
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in {"starlette", "uvicorn"}:
        raise
    sys.exit("The sandbox needs the extra 'sandbox': install the tap with it, as in: uv tool install '.[sandbox]'")

PROGRAM = "vonage-reports-sandbox"
DEFAULT_PORT = 8080
MAX_PORT = 65_535
_COMMAND_NOT_FOUND = 127

_EXAMPLES = f"""examples:
  {PROGRAM} serve
  {PROGRAM} serve --port 0 --subaccount sub00001 --rows sms=60000 --fault 500 --every 7
  {PROGRAM} run -- tap-vonage-reports --config config.json --config ENV
  {PROGRAM} run --fault cut-body,every=5 --fault 429=2,first=3 -- meltano run tap-vonage-reports target-jsonl
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    faults = f"faults (--fault NAME, or --fault NAME=VALUE):\n{_fault_lines()}"
    top = argparse.ArgumentParser(
        prog=PROGRAM,
        description="The Vonage Reports API on this machine, with invented traffic. It listens on loopback only.",
        epilog=f"{_EXAMPLES}\n{faults}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="serve|run")
    serve = commands.add_parser("serve", help="serve the API until Ctrl-C")
    serve.add_argument(
        "--port",
        type=_port,
        default=DEFAULT_PORT,
        help=f"port to listen on; 0 picks a free one (default {DEFAULT_PORT})",
    )
    run = commands.add_parser("run", help="run a command against the sandbox and exit with its code")
    run.add_argument("arguments", nargs="+", metavar="COMMAND", help="the command, after --")
    for command in (serve, run):
        command.formatter_class, command.epilog = argparse.RawDescriptionHelpFormatter, faults
        _add_options(command)
    return top


def _fault_lines() -> str:
    """Return the table of faults in groups, wrapped to the width of the terminal."""
    indent = max(len(fault.value) for fault in ABOUT) + 4
    wrap = partial(textwrap.fill, width=max(shutil.get_terminal_size().columns - 2, 2 * indent))
    lines = []
    for fault, about in ABOUT.items():
        lines += [f"\n {GROUPS[fault]}:"] if fault in GROUPS else []
        name = f"  {fault.value:{indent - 2}}"
        lines.append(wrap(about.description, initial_indent=name, subsequent_indent=" " * indent))
    return "\n".join(lines)


def _add_options(command: argparse.ArgumentParser) -> None:
    """Add the options that both commands take."""
    account = command.add_argument_group("accounts")
    account.add_argument("--api-key", default=DEMO_KEY, help="key of the primary account (default %(default)s)")
    account.add_argument("--api-secret", default=DEMO_SECRET, help="its secret (default %(default)s)")
    account.add_argument(
        "--subaccount", action="append", default=[], metavar="KEY", help="key of a sub-account; repeatable"
    )
    traffic = command.add_argument_group("traffic")
    traffic.add_argument("--seed", default="sandbox", help="the same seed gives the same rows (default %(default)s)")
    traffic.add_argument(
        "--volume", type=float, default=1.0, metavar="FACTOR", help="multiply the usual number of rows (default 1)"
    )
    traffic.add_argument(
        "--rows",
        action="append",
        default=[],
        type=_rows,
        metavar="STREAM=N",
        help="exactly N evenly spaced rows a day for each account and direction of a stream; * means all other "
        "streams; also STREAM/DIRECTION=N and STREAM/DIRECTION/ACCOUNT=N; repeatable",
    )
    traffic.add_argument("--now", type=_clock, metavar="TIME", help="stop the API's clock at this time (ISO 8601)")
    service = command.add_argument_group("service")
    service.add_argument("--page-size", type=int, default=1000, help="maximum rows per page (default %(default)s)")
    service.add_argument("--latency", type=float, default=0.0, metavar="SECONDS", help="delay each answer by this time")
    service.add_argument(
        "--realistic", action="store_true", help="generate reports as slowly as Vonage: 7 minutes per million rows"
    )
    service.add_argument(
        "--generation-seconds",
        type=float,
        metavar="SECONDS",
        help="generate every report in this time",
    )
    service.add_argument(
        "--max-reports",
        type=int,
        default=MAX_REPORTS,
        metavar="N",
        help="maximum number of unfinished reports per account (default %(default)s)",
    )
    service.add_argument(
        "--callback-host",
        action="append",
        default=[],
        metavar="HOST",
        help="also send the callbacks of reports to this host, not only to this machine; repeatable",
    )
    service.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME[=VALUE][,OPTION=...]",
        help="switch on a fault (see below); repeatable. Options: every=N (hit every Nth request), first=N (stop "
        "after N hits), after=N (spare the first N requests), product=NAME, account=KEY, endpoint=NAME",
    )
    service.add_argument("--every", type=int, default=1, metavar="N", help="default of every=N for all faults")
    service.add_argument("--first", type=int, metavar="N", help="default of first=N for all faults")


def _rows(text: str) -> tuple[str, int]:
    """Parse a volume."""
    name, _, count = text.partition("=")
    stream, _, rest = name.partition("/")
    stream = stream.lower().replace("-", "_")
    if stream != "*" and stream not in PRODUCTS:
        message = f"unknown stream {stream}; known are {', '.join(PRODUCTS)}"
        raise argparse.ArgumentTypeError(message)
    if not count.isdecimal():
        message = f"expected STREAM=N: {text}"
        raise argparse.ArgumentTypeError(message)
    return f"{stream}/{rest}" if rest else stream, int(count)


def _port(text: str) -> int:
    """Parse a port."""
    if not text.isdecimal() or int(text) > MAX_PORT:
        message = f"expected a port from 0 to {MAX_PORT}: {text}"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _clock(text: str) -> Clock:
    """Parse a time, and return a clock that stands still at it."""
    try:
        return Clock(text)
    except ValueError:
        message = f"expected a time with an offset, such as 2026-11-20T00:00:00Z: {text}"
        raise argparse.ArgumentTypeError(message) from None


def _sandbox(options: argparse.Namespace, port: int) -> Sandbox:
    """Create the sandbox that the options describe.

    Raises:
        ValueError: If a fault or its options are invalid.
    """
    faults = Faults()
    for text in options.fault:
        faults.on_text(text, every=options.every, first=options.first)
    return _Sandbox(
        seed=options.seed,
        api_key=options.api_key,
        api_secret=options.api_secret,
        subaccount_keys=options.subaccount,
        rows=dict(options.rows),
        scale=options.volume,
        clock=options.now,
        faults=faults,
        page_size=options.page_size,
        latency=options.latency,
        realistic=options.realistic,
        generation_seconds=options.generation_seconds,
        max_reports=options.max_reports,
        callback_hosts=options.callback_host,
        port=port,
    )


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _serve(sandbox: Sandbox) -> int:
    """Serve the API until a signal arrives."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with sandbox:
            _say(f"The Reports API is at {sandbox.url}")
            for name, value in sandbox.environment.items():
                _say(f"  export {name}={value}")
            for account in sandbox.accounts.subaccounts:
                _say(f"  sub-account {account.key}")
            _say(f"Requests so far: {sandbox.url}/__sandbox/requests")
            _say("Ctrl-C stops the sandbox.")
            sandbox.wait()
    except KeyboardInterrupt:
        pass
    return 0


def _run(sandbox: Sandbox, command: Sequence[str]) -> int:
    """Run a command against the sandbox."""
    with sandbox:
        try:
            process = subprocess.Popen(list(command), env=os.environ | sandbox.environment)  # noqa: S603 - the user's own
        except OSError as error:
            sys.stderr.write(f"{PROGRAM}: cannot run {command[0]}: {error.strerror}\n")
            return _COMMAND_NOT_FOUND
        # Both signals reach the command: the terminal sends it Ctrl-C itself, SIGTERM is passed on.
        previous = {
            signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
            signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: process.terminate()),
        }
        try:
            code = process.wait()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
    return 128 - code if code < 0 else code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0, or the exit code of the command that was run.
    """
    top = parser()
    options = top.parse_args(arguments)
    try:
        sandbox = _sandbox(options, options.port if options.command == "serve" else 0)
        return _serve(sandbox) if options.command == "serve" else _run(sandbox, options.arguments)
    except ValueError as error:
        top.error(str(error))
    except OSError as error:
        top.error(f"cannot listen: {error.strerror}")


if __name__ == "__main__":
    sys.exit(main())
