"""./run works on a bare machine, says what is missing, and fails as what it runs fails."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
RUN = ROOT / "run"
COMMANDS = ("demo", "test", "check", "bench", "sandbox")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
REGISTRIES = re.compile(r"pypi\.org|pythonhosted\.org|npmjs\.org")

FAKE_UV = """#!{python}
import json, os, sys
call = {{"arguments": sys.argv[1:], "folder": os.getcwd(), "python": os.environ.get("UV_PYTHON")}}
with open({log!r}, "a") as log:
    log.write(json.dumps(call) + "\\n")
sys.exit({code} if {fails!r} in sys.argv else 0)
"""


def run(*arguments: str, script: Path = RUN, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - the script under test
        [sys.executable, str(script), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ) | environment,
        cwd=script.anchor,
    )


class FakeUv:
    """A `uv` that only notes how it was called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "calls"

    def install(self, *, fails: str = "", code: int = 0) -> str:
        program = self.folder / "uv"
        program.write_text(FAKE_UV.format(python=sys.executable, log=str(self.log), fails=fails, code=code))
        program.chmod(0o755)
        return str(self.folder)

    @property
    def calls(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
def fake_uv(tmp_path: Path) -> FakeUv:
    if os.name == "nt":
        pytest.skip("a script cannot stand in for uv.exe")
    return FakeUv(tmp_path)


def test_it_needs_nothing_but_the_standard_library() -> None:
    tree = ast.parse(RUN.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_the_help_names_every_command() -> None:
    answer = run("--help")
    assert answer.returncode == 0
    for command in COMMANDS:
        assert re.search(rf"^  {command} +\S", answer.stdout, re.MULTILINE)


def test_an_unknown_command_is_refused() -> None:
    answer = run("nonsense")
    assert answer.returncode == 2
    assert "nonsense" in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize("missing", ["venv", "ensurepip"])
def test_where_venv_is_missing_it_says_in_one_line_what_to_install(tmp_path: Path, missing: str) -> None:
    shutil.copy(RUN, tmp_path)
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules[{missing!r}] = None\n")
    answer = run("test", script=tmp_path / "run", PATH="", PYTHONPATH=str(tmp_path))
    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1
    assert "apt install python3-venv" in answer.stderr
    assert not (tmp_path / ".run").exists()


def test_it_works_from_any_folder_and_hands_arguments_on(fake_uv: FakeUv) -> None:
    answer = run("test", "-k", "one thing", "--help", PATH=fake_uv.install())
    assert answer.returncode == 0
    (call,) = fake_uv.calls
    assert call["folder"] == str(ROOT)
    assert call["arguments"][-5:] == ["pytest", "-q", "-k", "one thing", "--help"]


def test_it_fails_with_the_exit_code_of_what_failed(fake_uv: FakeUv) -> None:
    assert run("test", PATH=fake_uv.install(fails="pytest", code=5)).returncode == 5


def test_all_checks_are_made_also_when_one_has_failed(fake_uv: FakeUv) -> None:
    answer = run("check", PATH=fake_uv.install(fails="mypy", code=3))
    assert answer.returncode == 3
    programs = [call["arguments"][call["arguments"].index("--group=dev") + 1 :] for call in fake_uv.calls]
    assert [program[:2] for program in programs] == [["ruff", "check"], ["ruff", "format"], ["mypy"], ["ty", "check"]]


def test_a_command_without_arguments_refuses_them(fake_uv: FakeUv) -> None:
    answer = run("check", "--fix", PATH=fake_uv.install())
    assert answer.returncode == 2
    assert "check takes no arguments" in answer.stderr
    assert not fake_uv.log.exists()


def test_a_new_environment_has_the_python_that_runs_it(fake_uv: FakeUv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV_PYTHON", raising=False)
    monkeypatch.delenv("UV_PROJECT_ENVIRONMENT", raising=False)
    fresh = fake_uv.folder / "checkout"
    fresh.mkdir()
    shutil.copy(RUN, fresh)
    path = fake_uv.install()
    run("test", script=fresh / "run", PATH=path)
    run("--python", "3.14", "test", script=fresh / "run", PATH=path)
    (fresh / ".venv").mkdir()
    run("test", script=fresh / "run", PATH=path)
    assert [call["python"] for call in fake_uv.calls] == [sys.executable, "3.14", None]


def test_no_tracked_file_names_a_package_registry() -> None:
    git = shutil.which("git")
    if not git or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)  # noqa: S603 - no input
    files = [ROOT / os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    named = [file for file in files if file.is_file() and REGISTRIES.search(file.read_text(errors="replace"))]
    assert not named


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_to_a_commit(workflow: Path) -> None:
    used = re.findall(r"uses: (.*)", workflow.read_text(encoding="utf-8"))
    assert used
    for action in used:
        assert re.fullmatch(r"\./\S+|[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_nothing_that_a_job_does_not_ask_for(workflow: Path) -> None:
    parsed = yaml.safe_load(workflow.read_text(encoding="utf-8"))
    assert parsed["permissions"] == {}
    assert all("permissions" in job for job in parsed["jobs"].values())


def test_every_python_that_the_package_names_is_tested() -> None:
    named = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == named
