"""BATCH files of killed runs: the next run removes what no message names, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from tap_vonage_reports.output.batch_files import BatchFiles
from tap_vonage_reports.output.channel import OutputChannel
from tap_vonage_reports.output.journal import remove_unannounced
from tap_vonage_reports.output.storage import open_storage
from tap_vonage_reports.sandbox import Sandbox
from tests.conftest import NOW
from tests.harness import run_tap, settings_for
from tests.output.test_batch_files import config, in_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it has no locks that end with a process")

ROOT = Path(__file__).parent.parent.parent
WRITER = """
import os, sys, tempfile
from dataclasses import dataclass
from types import SimpleNamespace
from tap_vonage_reports.output import batch_files, journal
from tap_vonage_reports.output.storage import open_storage
from tap_vonage_reports.records.parser import RecordParser

@dataclass
class Encoding:
    format: str = "jsonl"
    compression: str = "none"

schema = {"properties": {"id": {"type": "string"}, "_extra": {"type": ["object", "null"]}}}
rows = [{"id": str(number), "_extra": None} for number in range(3)]

def write(root):
    config = SimpleNamespace(encoding=Encoding(), storage=SimpleNamespace(root=root, prefix="", params={}))
    parser = RecordParser(schema)
    with batch_files.BatchFiles("things", schema, ["id"], parser, config, rows_per_file=2) as files:
        for _ in range(2):
            files.write_records(rows)
            print(root, *files.finish(), flush=True)
            files.announced()
        files.write_records(rows)
        print("writing", flush=True)
        sys.stdin.read()
"""
KILLED_AT_EVERY_STEP = """
steps = 0

def killed_before(step):
    def wrapped(*arguments, **options):
        global steps
        steps += 1
        if steps == at:
            os.kill(os.getpid(), 9)
        return step(*arguments, **options)
    return wrapped

tempfile.gettempdir()  # which tries to write there
storage = type(open_storage(SimpleNamespace(root=sys.argv[1], params={})))
for owner, name in (
    (os, "write"), (os, "ftruncate"), (batch_files, "_open_private"), (journal, "create_locked"), (storage, "publish")
):
    setattr(owner, name, killed_before(getattr(owner, name)))
for at in range(1, 100):
    child = os.fork()
    if not child:
        write(f"{sys.argv[1]}/{at}")
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


def write_in_process(root: str, temporary: Path, script: str = "write(sys.argv[1])") -> subprocess.Popen[str]:
    """Start a process that announces two pairs of files, and then has a file that no message names, and a draft."""
    return subprocess.Popen(  # noqa: S603 - this Python
        [sys.executable, "-c", WRITER + script, root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
    )


def until_writing(process: subprocess.Popen[str]) -> set[str]:
    """Wait until the process is in the middle of writing, and return the names of the announced files."""
    assert process.stdout
    lines = [process.stdout.readline() for _ in range(3)]
    assert lines[2] == "writing\n"
    return names_in(lines[:2])


def names_in(lines: list[str]) -> set[str]:
    return {address.rpartition("/")[2] for line in lines for address in line.split()[1:]}


@pytest.fixture(params=["", "local://"], ids=["local", "remote"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Path]:
    """A storage's root, and what holds it and the temporary files. To the tap, ``local://`` is a storage like S3."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "files" / "things").mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return f"{request.param}{tmp_path / 'files'}", tmp_path


def clean(root: str) -> None:
    remove_unannounced(open_storage(config(root).storage))


def test_files_that_a_killed_run_did_not_announce_are_removed(place: tuple[str, Path]) -> None:
    root, folder = place
    with write_in_process(root, folder / "tmp") as process:
        announced = until_writing(process)
        before = in_folder(folder)
        clean(root)
        assert in_folder(folder) == before, "a run that lives has lost files"
        process.kill()
    assert len(announced) == 4
    assert len(in_folder(folder)) == len(announced) + 3, "a complete file, a draft, and the journal"
    clean(root)
    assert in_folder(folder) == announced


def test_killed_at_any_step_a_run_leaves_announced_files_only(place: tuple[str, Path]) -> None:
    root, folder = place
    for number in range(1, 100):
        (folder / "files" / f"{number}" / "things").mkdir(parents=True)
    with write_in_process(root, folder / "tmp", KILLED_AT_EVERY_STEP) as process:
        printed = process.communicate()[0].splitlines()
    last = max(number for number in range(1, 100) if in_folder(folder / "files" / f"{number}"))
    assert last > 12, "the steps are not counted"
    for step in range(1, last):
        clean(f"{root}/{step}")
        announced = [names_in([line]) for line in printed if line.startswith(f"{root}/{step} ")]
        # The last files may be announced or not: their message was written an instant before.
        assert in_folder(folder / "files" / f"{step}") in (set().union(*announced), set().union(*announced[:-1]))
    assert in_folder(folder / "tmp") == set()
    assert len(in_folder(folder / "files" / f"{last}")) == 4, "the last one was not killed"


def test_a_journal_of_another_storage_is_left_alone(place: tuple[str, Path]) -> None:
    root, folder = place
    (folder / "other").mkdir()
    with write_in_process(root, folder / "tmp") as process:
        until_writing(process)
        process.kill()
    before = in_folder(folder)
    clean(root.replace("files", "other"))
    assert in_folder(folder) == before


def test_a_journal_names_files_of_its_own_run_and_folder_only(place: tuple[str, Path]) -> None:
    root, folder = place
    with write_in_process(root, folder / "tmp") as process:
        until_writing(process)
        process.kill()
    (journal,) = folder.rglob("*.unannounced")
    run = journal.name[1:9]
    others = [folder / f"x-{run}-1", folder / "files" / "of-another-run", folder / "files" / "things" / "x-feedbeef-1"]
    for other in others:
        other.touch()
    journal.write_text(f"../x-{run}-1\n{folder}/x-{run}-1\nof-another-run\nthings/x-feedbeef-1\nthings/x-{run}-2")
    clean(root)
    assert all(other.exists() for other in others)


def test_what_is_no_journal_of_this_user_is_left_alone_and_hides_no_other(
    place: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, folder = place
    with write_in_process(root, folder / "tmp") as process:
        announced = until_writing(process)
        process.kill()
    (journal,) = folder.rglob("*.unannounced")
    os.mkfifo(journal.with_name(journal.name.replace(journal.name[1:9], "00000000")))
    journal.with_name(journal.name.replace(journal.name[1:9], "00000001")).symlink_to(journal)
    before = in_folder(folder)
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: -1)
        clean(root)
        assert in_folder(folder) == before
    clean(root)
    assert in_folder(folder) == announced


def test_files_that_cannot_be_removed_are_tried_again(
    place: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    root, folder = place
    with write_in_process(root, folder / "tmp") as process:
        announced = until_writing(process)
        process.kill()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", mock.Mock(side_effect=PermissionError))
        clean(root)
    assert "cannot be removed. They hold personal data" in caplog.text
    clean(root)
    assert in_folder(folder) == announced


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(clock=NOW, rows={"*": 0, "sms": 40}, faults=["no-rate-limit"]) as sandbox:
        yield sandbox


def settings_with_files(sandbox: Sandbox, root: Path) -> dict[str, Any]:
    files = {"encoding": {"format": "jsonl"}, "storage": {"root": str(root)}, "batch_size": 7}
    return settings_for(sandbox, batch_config=files)


def test_the_next_run_of_the_tap_removes_them_whatever_it_selects(tmp_path: Path, sandbox: Sandbox) -> None:
    root = tmp_path / "files"
    (root / "things").mkdir(parents=True)
    with write_in_process(str(root), tmp_path) as process:
        announced = until_writing(process)
        process.kill()
    run_tap(settings_with_files(sandbox, root), ["amd"])
    assert in_folder(root) == announced


def test_at_each_state_every_file_that_its_messages_name_is_out_of_the_journal(
    tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the next run would take files away from the target whose rows are never read again."""
    at_states, at_messages = [], []
    write_state, announced = OutputChannel.write_state, BatchFiles.announced

    def journals() -> set[str]:
        return {name for path in tmp_path.glob("*.unannounced") for name in path.read_text().splitlines()}

    def checked_state(self: OutputChannel, *arguments: Any) -> None:
        at_states.append(journals())
        write_state(self, *arguments)

    def checked_announced(self: BatchFiles) -> None:
        at_messages.append(journals())
        announced(self)

    monkeypatch.setattr(OutputChannel, "write_state", checked_state)
    monkeypatch.setattr(BatchFiles, "announced", checked_announced)
    run_tap(settings_with_files(sandbox, tmp_path), ["sms"])
    assert len(set().union(*at_messages)) == len(list(tmp_path.rglob("*.jsonl.gz"))) > 10
    assert len(at_states) > 1
    assert set().union(*at_states) == set()
