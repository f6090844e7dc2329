"""meltano.yml offers what the tap has: every setting, its kind, its words, its default, and every capability."""

from __future__ import annotations

import re
import subprocess
from copy import deepcopy
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tap_vonage_reports.config.schema import CONFIG_JSONSCHEMA
from tap_vonage_reports.sources import SOURCES
from tap_vonage_reports.tap import TapVonageReports
from tests.transform.project import REQUIREMENTS
from tests.transform.staging import PROJECT as TRANSFORM
from tests.transform.staging import ROOT

PROJECT = yaml.safe_load((Path(__file__).parent.parent / "meltano.yml").read_text(encoding="utf-8"))
ALL_PLUGINS = {plugin["name"]: plugin for plugins in PROJECT["plugins"].values() for plugin in plugins}
PLUGINS = {name: plugin for name, plugin in ALL_PLUGINS.items() if "inherit_from" not in plugin}
ENVIRONMENTS = {environment["name"]: environment for environment in PROJECT["environments"]}
TAP = PLUGINS["tap-vonage-reports"]
OFFERED = {setting["name"]: setting for setting in TAP["settings"]}
# Meltano 4.4 fails on a decimal that comes from the environment, and on a list that is not JSON. The tap reads both.
KINDS = {"number": "string", "array": "string"}


def _all_settings() -> dict[str, dict[str, Any]]:
    schema = deepcopy(CONFIG_JSONSCHEMA)
    TapVonageReports.append_builtin_config(schema)
    properties: dict[str, dict[str, Any]] = schema["properties"]
    return properties


SETTINGS = _all_settings()
OWN = list(CONFIG_JSONSCHEMA["properties"])


def kind_of_setting(spec: dict[str, Any]) -> str:
    if "enum" in spec:
        return "options"
    if spec.get("format") == "date-time":
        return "date_iso8601"
    kind: str
    (kind,) = set(spec["type"]) - {"null"}
    return KINDS.get(kind, kind)


def _configured(environment: dict[str, Any]) -> dict[str, dict[str, Any]]:
    plugins = environment["config"]["plugins"]
    return {plugin["name"]: plugin["config"] for kind in plugins.values() for plugin in kind}


def test_every_setting_of_the_tap_is_offered_and_no_other() -> None:
    assert list(OFFERED) == list(SETTINGS)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_has_the_kind_of_the_taps(name: str) -> None:
    assert OFFERED[name]["kind"] == kind_of_setting(SETTINGS[name])


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_is_sensitive_where_the_taps_is_secret(name: str) -> None:
    assert OFFERED[name].get("sensitive", False) == SETTINGS[name].get("secret", False)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_has_the_default_of_the_taps(name: str) -> None:
    assert OFFERED[name].get("value") == SETTINGS[name].get("default")


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_offers_the_values_that_the_tap_takes(name: str) -> None:
    assert [option["value"] for option in OFFERED[name].get("options", [])] == [*SETTINGS[name].get("enum", [])]


@pytest.mark.parametrize("name", OWN)
def test_a_setting_is_called_and_described_as_by_the_tap(name: str) -> None:
    assert OFFERED[name]["label"] == SETTINGS[name]["title"]
    assert OFFERED[name]["description"] == SETTINGS[name]["description"]


@pytest.mark.parametrize("plugin", PLUGINS)
def test_every_setting_of_a_plugin_has_a_label_and_a_description(plugin: str) -> None:
    for setting in PLUGINS[plugin]["settings"]:
        assert setting["label"]
        assert setting["description"]


def test_the_settings_that_the_tap_requires_are_required() -> None:
    assert TAP["settings_group_validation"] == [CONFIG_JSONSCHEMA["required"]]


def test_every_capability_of_the_tap_is_named_and_no_other() -> None:
    assert TAP["capabilities"] == [capability.value for capability in TapVonageReports.capabilities]


def test_the_same_streams_are_selected_as_by_the_tap_itself() -> None:
    left_out = [f"!{stream}.*" for stream, source in SOURCES.items() if not source.selected]
    assert TAP["select"] == ["*.*", *left_out]


@pytest.mark.parametrize("plugin", PLUGINS)
def test_no_plugin_needs_to_be_looked_up_in_the_hub(plugin: str) -> None:
    assert {"namespace", "pip_url", "executable"} <= set(PLUGINS[plugin])


def test_the_loaders_are_json_lines_by_default_and_databases() -> None:
    loaders = [loader["name"] for loader in PROJECT["plugins"]["loaders"]]
    assert loaders == ["target-jsonl", "target-postgres", "target-vonage-files"]


def test_the_tap_that_writes_files_is_the_tap_with_files_that_its_loader_takes() -> None:
    plugin = ALL_PLUGINS["tap-vonage-files"]
    assert plugin["inherit_from"] == TAP["name"]
    assert list(plugin["config"]) == ["batch_config"]
    assert plugin["config"]["batch_config"]["encoding"]["format"] == "parquet"


def test_the_plugins_in_the_docs_can_be_pasted_into_a_file_as_meltano_writes_it() -> None:
    docs = (Path(__file__).parent.parent / "docs" / "loaders.md").read_text(encoding="utf-8")
    block = docs.partition("<!-- vonage-files -->\n```yaml\n")[2].partition("```")[0]
    head = "plugins:\n  extractors:\n"
    written = yaml.safe_load(f"{head}  - name: tap-vonage-reports\n{block.removeprefix(head)}")["plugins"]
    assert [plugin["name"] for plugin in written["extractors"]] == ["tap-vonage-reports", "tap-vonage-files"]
    assert [plugin["name"] for plugin in written["loaders"]] == ["target-vonage-files"]


def test_the_plugins_that_the_documentation_gives_are_those_of_the_projects_own_file() -> None:
    docs = (Path(__file__).parent.parent / "docs" / "loaders.md").read_text(encoding="utf-8")
    given = yaml.safe_load(docs.partition("<!-- vonage-files -->\n```yaml\n")[2].partition("```")[0])["plugins"]
    assert given["extractors"] == [ALL_PLUGINS["tap-vonage-files"]]
    (loader,) = given["loaders"]
    ours = PLUGINS[loader["name"]]
    assert {key: ours[key] for key in ("namespace", "executable")}.items() <= loader.items()
    assert loader["pip_url"].endswith("[load]")
    assert ours["pip_url"].endswith("[load]")
    offered = {setting["name"]: setting for setting in ours["settings"]}
    for setting in loader["settings"]:
        assert setting.items() <= offered[setting["name"]].items()


def test_the_documentations_command_adds_the_extras_to_both_packages(tmp_path: Path) -> None:
    pages = {name: (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("guide.md", "loaders.md")}
    plugin = "pip_url: tap-vonage-reports\n"
    guide = re.search(r"^sed .*$", pages["guide.md"], re.MULTILINE)
    block = r"<!-- vonage-files-install -->\n```sh\n(.*?)meltano install\n```"
    loaders = re.search(block, pages["loaders.md"], re.DOTALL)
    assert guide
    assert loaders
    for commands in ([guide[0], loaders[1]], [loaders[1]]):
        (tmp_path / "meltano.yml").write_text(f"{plugin}pip_url: tap-vonage-reports[load]\npip_url: target-jsonl\n")
        for command in commands:
            subprocess.run(["bash", "-ec", command], cwd=tmp_path, check=True)  # noqa: S603, S607 - from the page
        written = (tmp_path / "meltano.yml").read_text(encoding="utf-8")
        assert written == "pip_url: /path/to/clone[parquet]\npip_url: /path/to/clone[load]\npip_url: target-jsonl\n"


def test_postgres_keeps_one_row_for_each_id() -> None:
    (method,) = (setting for setting in PLUGINS["target-postgres"]["settings"] if setting["name"] == "load_method")
    assert method["value"] == "upsert"


def test_dbt_builds_the_project_that_reads_these_settings() -> None:
    dbt = PLUGINS["dbt"]
    assert dbt["pip_url"].split() == list(REQUIREMENTS)
    for command in dbt["commands"].values():
        folders = re.findall(r"--(?:project|profiles)-dir \$MELTANO_PROJECT_ROOT/(\S+)", command["args"])
        assert [ROOT / folder for folder in folders] == [TRANSFORM, TRANSFORM]
    texts = [path.read_text("utf-8") for path in (TRANSFORM / "profiles.yml", *(TRANSFORM / "macros").iterdir())]
    read = set(re.findall(r"env_var\('(VONAGE_\w+)'", "".join(texts)))
    assert {setting["env"] for setting in dbt["settings"]} <= read


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_no_secret_stands_in_an_environment(environment: str) -> None:
    for plugin, config in _configured(ENVIRONMENTS[environment]).items():
        secrets = {setting["name"] for setting in PLUGINS[plugin]["settings"] if setting.get("sensitive")}
        assert not secrets & set(config)
        assert set(config) <= {setting["name"] for setting in PLUGINS[plugin]["settings"]}


def test_the_default_environment_never_reaches_the_real_api() -> None:
    config = _configured(ENVIRONMENTS[PROJECT["default_environment"]])["tap-vonage-reports"]
    assert ip_address(urlsplit(config["api_url"]).hostname or "").is_loopback


def test_the_production_environment_reaches_the_real_api() -> None:
    assert _configured(ENVIRONMENTS["prod"])["tap-vonage-reports"]["api_url"] == SETTINGS["api_url"]["default"]


def test_a_job_of_plugins_that_are_there_runs_daily() -> None:
    jobs = {job["name"]: job["tasks"] for job in PROJECT["jobs"]}
    for tasks in jobs.values():
        assert {plugin for task in tasks for plugin in task.split()} <= set(ALL_PLUGINS)
    (schedule,) = PROJECT["schedules"]
    assert schedule["job"] in jobs
    assert schedule["interval"] == "@daily"


def test_nothing_is_sent_to_meltano_and_it_has_no_reason_to_rewrite_the_file() -> None:
    assert PROJECT["send_anonymous_usage_stats"] is False
    assert PROJECT["project_id"]
