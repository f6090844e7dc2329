"""./run works on a bare machine, says what is missing, and fails as what it runs fails."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parent.parent
RUN = ROOT / "run"
COMMANDS = ("demo", "test", "coverage", "chaos", "mutants", "check", "audit", "bench", "docs", "report", "sandbox")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
REGISTRIES = re.compile(r"pypi\.org|pythonhosted\.org|npmjs\.org")

FAKE_UV = """#!{python}
import json, os, sys
call = {{"arguments": sys.argv[1:], "folder": os.getcwd(), "python": os.environ.get("UV_PYTHON"),
    "venv": os.environ.get("UV_PROJECT_ENVIRONMENT")}}
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


@pytest.mark.parametrize("arguments", [["--help"], []], ids=["help", "nothing"])
def test_the_help_names_every_command(arguments: list[str]) -> None:
    answer = run(*arguments)
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
    assert [program[0] for program in programs] == [
        *("ruff", "ruff", "mypy", "ty", "lint-imports", "deptry", "jactionlint", "zizmor")
    ]


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


def test_all_tests_run_on_all_processors_and_some_as_they_are_asked_for(fake_uv: FakeUv) -> None:
    run("test", PATH=fake_uv.install())
    run("test", "-k", "one thing", PATH=fake_uv.install())
    assert ["--numprocesses=auto" in call["arguments"] for call in fake_uv.calls] == [True, False]


def test_only_all_tests_together_have_to_reach_all_code(fake_uv: FakeUv) -> None:
    run("test", PATH=fake_uv.install())
    run("coverage", PATH=fake_uv.install())
    assert ["--cov" in call["arguments"] for call in fake_uv.calls] == [False, True]
    assert run("coverage", "-k", "one thing", PATH=fake_uv.install()).returncode == 2


@pytest.mark.parametrize(
    ("versions", "resolution"), [("lowest", "lowest-direct"), ("newest", "highest"), ("next", "highest")]
)
def test_other_versions_are_in_a_fresh_environment_of_their_own(
    fake_uv: FakeUv, versions: str, resolution: str
) -> None:
    answer = run("--python", "3.10", "--versions", versions, "test", "-k", "one thing", PATH=fake_uv.install())
    assert answer.returncode == 0
    made, installed, ran = fake_uv.calls
    venv = f".run/{versions}"
    assert made["arguments"] == ["venv", "--quiet", "--clear", venv]
    assert made["python"] == "3.10"
    outside = f"--project={ROOT.anchor}"  # where the pins do not hold
    assert {outside, f"--python={venv}", f"--resolution={resolution}"} < set(installed["arguments"])
    overrides = [argument for argument in installed["arguments"] if argument.startswith("--overrides=")]
    assert overrides == (["--overrides=.run/next.txt"] if versions == "next" else [])
    assert ran["venv"] == venv
    assert ran["arguments"] == ["run", "--quiet", "--no-sync", "pytest", "-q", "-k", "one thing"]


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("cc"), reason="needs Linux and a C compiler")
def test_tests_run_on_another_date(fake_uv: FakeUv) -> None:
    assert (
        run("--date", "+150d", "test", "-k", "one thing", PATH=f"{fake_uv.install()}:{os.environ['PATH']}").returncode
        == 0
    )
    (call,) = fake_uv.calls
    env, *moved, program = call["arguments"][call["arguments"].index("env") :][:4]
    assert (env, program) == ("env", "pytest")
    code = "import time; time.sleep(0.001); print(time.time())"
    real, shown = (
        float(subprocess.check_output(["env", *variables, sys.executable, "-c", code]))  # noqa: S603, S607 - from above
        for variables in (["LD_PRELOAD="], moved)
    )
    assert 150 <= (shown - real) / 86_400 < 151


def test_a_date_that_is_none_is_refused(fake_uv: FakeUv) -> None:
    answer = run("--date", "tomorrow", "test", PATH=fake_uv.install())
    assert answer.returncode == 2
    assert "expected days, such as +150d" in answer.stderr


@pytest.mark.parametrize("command", [["--versions", "newest", "test"], ["audit"]], ids=" ".join)
def test_nothing_is_run_where_the_packages_cannot_be_found(fake_uv: FakeUv, command: list[str]) -> None:
    assert run(*command, PATH=fake_uv.install(fails="pip", code=4)).returncode == 4
    assert "run" not in [call["arguments"][0] for call in fake_uv.calls]


def test_the_audit_fails_with_what_it_finds_and_with_what_it_cannot_judge(fake_uv: FakeUv) -> None:
    assert run("audit", "--ignore-vuln=X", PATH=fake_uv.install(fails="pip-audit", code=1)).returncode == 1
    found, audited = (call["arguments"] for call in fake_uv.calls)
    assert "--all-extras" in found
    assert "--strict" in audited
    assert audited[-1] == "--ignore-vuln=X"


def test_the_audit_is_of_the_newest_versions_only(fake_uv: FakeUv) -> None:
    answer = run("--versions", "lowest", "audit", PATH=fake_uv.install())
    assert answer.returncode == 2
    assert "audit takes no --versions" in answer.stderr


def test_users_do_not_get_the_projects_pins(tmp_path: Path) -> None:
    uv = os.environ.get("UV") or shutil.which("uv")
    if not uv:
        pytest.skip("no uv")
    for number in (1, 2):
        with zipfile.ZipFile(tmp_path / f"thing-{number}-py3-none-any.whl", "w") as wheel:
            about = f"thing-{number}.dist-info"
            wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: thing\nVersion: {number}\n")
            wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            wheel.writestr(f"{about}/RECORD", "")
    project = '[project]\nname = "tap"\nversion = "0"\ndependencies = ["thing"]\n'
    (tmp_path / "pyproject.toml").write_text(f'{project}[tool.uv]\nconstraint-dependencies = ["thing==1"]\n')
    shutil.copy(RUN, tmp_path)
    # pip-audit asks a service about the package, whose certificate holds on the real date (./run --date).
    offline = {"UV_NO_INDEX": "1", "UV_FIND_LINKS": str(tmp_path), "LD_PRELOAD": ""}
    answer = run("audit", script=tmp_path / "run", PATH=str(Path(uv).parent), **offline)
    assert "thing==2" in (tmp_path / ".run" / "audited.txt").read_text(encoding="utf-8"), answer.stderr
    assert answer.returncode, "pip-audit, which is not there, has found nothing"


@pytest.mark.skipif(Path(sys.prefix) != ROOT / ".run" / "lowest", reason="for ./run --versions lowest")
def test_every_lower_bound_is_run() -> None:
    for named in map(Requirement, requires("tap-vonage-reports") or ()):
        (lowest,) = (Version(bound.version) for bound in named.specifier if bound.operator in (">=", "~="))
        assert Version(version(named.name)) == lowest, named


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
        assert re.fullmatch(r"\$/\S+|[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_nothing_that_a_job_does_not_ask_for(workflow: Path) -> None:
    parsed = yaml.safe_load(workflow.read_text(encoding="utf-8"))
    assert parsed["permissions"] == {}
    assert all("permissions" in job for job in parsed["jobs"].values())


def test_every_python_that_the_package_names_is_tested() -> None:
    named = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert workflow_of("test")["jobs"]["test"]["strategy"]["matrix"]["python"] == named


def test_the_lowest_and_the_newest_versions_are_tested() -> None:
    job = workflow_of("test")["jobs"]["versions"]
    assert {tried["versions"] for tried in job["strategy"]["matrix"]["include"]} == {"lowest", "newest"}
    assert job["steps"][-1]["run"] == "./run --versions ${{ matrix.versions }} test"


def test_the_next_version_of_the_sdk_is_tested_and_may_fail() -> None:
    job = workflow_of("test")["jobs"]["next"]
    assert job["continue-on-error"] is True
    assert job["steps"][-1]["run"] == "./run --versions next test"


def test_what_takes_long_is_tested_every_night() -> None:
    workflow = workflow_of("nightly")
    (schedule,) = workflow[True]["schedule"]
    assert re.fullmatch(r"\d+ \d+ \* \* \*", schedule["cron"])
    assert workflow["jobs"]["loaders"]["steps"][-1]["run"] == "./run test -m nightly"


def test_later_dates_are_tested() -> None:
    job = workflow_of("test")["jobs"]["dates"]
    assert job["steps"][-1]["run"] == "./run --date +${{ matrix.days }}d test"


@pytest.mark.parametrize("name", ["test", "audit"])
def test_new_releases_of_dependencies_are_tested_every_week(name: str) -> None:
    (schedule,) = workflow_of(name)[True]["schedule"]  # in YAML 1.1, "on" is true
    assert re.fullmatch(r"\d+ \d+ \* \* [0-6]", schedule["cron"])


def workflow_of(name: str) -> dict[Any, Any]:
    parsed: dict[Any, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text("utf-8"))
    return parsed
