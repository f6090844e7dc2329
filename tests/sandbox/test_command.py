from __future__ import annotations

import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import requests

from tap_vonage_reports.sandbox.__main__ import main

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = [sys.executable, "-m", "tap_vonage_reports.sandbox"]

READ = """
import base64, json, os, sys, urllib.request
url, key, secret = (os.environ["TAP_VONAGE_REPORTS_" + name] for name in ("API_URL", "API_KEY", "API_SECRET"))
query = "product=SMS&direction=outbound&date_start=2026-11-18T00:00:00Z&date_end=2026-11-19T00:00:00Z"
request = urllib.request.Request(f"{url}/v2/reports/records?account_id={key}&{query}")
request.add_header("Authorization", "Basic " + base64.b64encode(f"{key}:{secret}".encode()).decode())
with urllib.request.urlopen(request) as answer:
    sys.exit(json.load(answer)["items_count"])
"""

ASK_TWICE = """
import base64, json, os, sys, urllib.error, urllib.request
url, key, secret = (os.environ["TAP_VONAGE_REPORTS_" + name] for name in ("API_URL", "API_KEY", "API_SECRET"))
request = urllib.request.Request(f"{url}/v2/reports", json.dumps({"product": "AMD", "account_id": key}).encode())
request.add_header("Authorization", "Basic " + base64.b64encode(f"{key}:{secret}".encode()).decode())
with urllib.request.urlopen(request) as answer:
    report = json.load(answer)["_links"]["self"]["href"]
try:
    urllib.request.urlopen(request)
except urllib.error.HTTPError as refused:
    assert refused.code == 429
request = urllib.request.Request(report, headers=request.headers)
with urllib.request.urlopen(request) as answer:
    sys.exit({"PENDING": 10, "PROCESSING": 20}[json.load(answer)["request_status"]])
"""


def test_run_gives_the_command_a_sandbox_and_ends_with_its_code() -> None:
    options = ["--rows", "sms=42", "--now", "2026-11-20T00:00:00Z", "--api-secret", "s p@ce:ü"]
    assert main(["run", *options, "--", sys.executable, "-c", READ]) == 42


@pytest.mark.parametrize(("options", "code"), [(["--realistic"], 10), (["--generation-seconds", "1000"], 20)])
def test_reports_take_as_long_as_the_options_say(options: list[str], code: int) -> None:
    assert main(["run", "--max-reports", "1", *options, "--", sys.executable, "-c", ASK_TWICE]) == code


def test_run_passes_options_and_dashes_on_to_the_command() -> None:
    code = "import sys; sys.exit(sys.argv[1:] != ['--fault', 'x', '--', '-y'])"
    assert main(["run", "--", sys.executable, "-c", code, "--fault", "x", "--", "-y"]) == 0


def test_run_ends_like_a_shell_when_a_signal_ended_the_command() -> None:
    code = "import os; os.kill(os.getpid(), 15)"
    assert main(["run", "--", sys.executable, "-c", code]) == 128 + signal.SIGTERM


def test_run_says_that_there_is_no_such_command(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--", "no-such-command-anywhere"]) == 127
    assert "cannot run no-such-command-anywhere" in capfd.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_prints_what_to_use_and_stops_on_a_signal(number: signal.Signals) -> None:
    options = ["--port", "0", "--subaccount", "sub00001", "--fault", "500,first=1"]
    command = [*COMMAND, "serve", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ourselves
        assert process.stdout is not None
        lines: list[str] = []
        while not lines or not lines[-1].startswith("Ctrl-C"):
            line = process.stdout.readline()
            assert line, "it ended before it was ready"
            lines.append(line)
        text = "".join(lines)
        found = re.search(r"TAP_VONAGE_REPORTS_API_URL=(\S+)", text)
        assert found
        assert "TAP_VONAGE_REPORTS_API_KEY=abcd1234" in text
        assert "sub-account sub00001" in text
        answer = requests.get(f"{found[1]}/v2/reports/records", timeout=60)
        assert answer.status_code == 500
        process.send_signal(number)
        assert process.wait(timeout=60) == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--fault", "nope"], "Unknown fault: nope"),
        (["--rows", "smss=3"], "unknown stream smss"),
        (["--rows", "sms=many"], "expected STREAM=N"),
        (["--now", "noon"], "expected a time with an offset"),
        (["--port", "99999"], "expected a port from 0 to 65535"),
        (["--port", "-1"], "expected a port from 0 to 65535"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_in_words(
    capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--port", "0", *options])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_a_port_in_use_is_refused_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    import socket  # noqa: PLC0415 - this test alone

    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SystemExit) as ended:
        main(["serve", "--port", str(taken.getsockname()[1])])
    assert ended.value.code == 2
    assert "in use" in capsys.readouterr().err


def test_the_help_names_every_fault(capsys: pytest.CaptureFixture[str]) -> None:
    from tap_vonage_reports.sandbox import Fault  # noqa: PLC0415 - this test alone

    for arguments in (["--help"], ["serve", "--help"], ["run", "--help"]):
        with pytest.raises(SystemExit):
            main(arguments)
        text = capsys.readouterr().out
        assert all(fault.value in text for fault in Fault)


def test_faults_in_the_help_stand_apart_from_their_texts_and_fit_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tap_vonage_reports.sandbox import Fault  # noqa: PLC0415 - this test alone

    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    lines = capsys.readouterr().out.partition("faults (")[2].splitlines()
    assert max(map(len, lines)) <= 80
    assert {line.split("  ")[1] for line in lines if re.match(r"  \S", line)} == {fault.value for fault in Fault}


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_a_missing_package_is_told_in_one_line(tmp_path: Path, package: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"import sys; sys.modules[{package!r}] = None", encoding="utf-8")
    done = subprocess.run(  # noqa: S603 - ourselves
        [*COMMAND, "serve"],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": f"{tmp_path}:."},
        timeout=60,
    )
    assert done.returncode == 1
    assert (
        done.stderr
        == "The sandbox needs the extra 'sandbox': install the tap with it, as in: uv tool install '.[sandbox]'\n"
    )
