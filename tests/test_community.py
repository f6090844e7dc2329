"""What contributors and reporters meet first: forms that GitHub takes, a changelog in its form, links that work."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tap_vonage_reports.config.schema import CONFIG_JSONSCHEMA
from tests.test_run_script import COMMANDS

ROOT = Path(__file__).parent.parent
TEMPLATES = ROOT / ".github" / "ISSUE_TEMPLATE"
FORMS = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in TEMPLATES.glob("*.yml")
    if path.name != "config.yml"
}
PAGES = [
    *(page for folder in (".", ".github", "docs/hub") for page in (ROOT / folder).glob("*.md")),
    ROOT / "docs" / "loaders.md",
    ROOT / "docs" / "meltano.md",
]
KINDS = {"markdown", "textarea", "input", "dropdown", "checkboxes"}

every_form = pytest.mark.parametrize("form", FORMS)


def fields_of(form: str) -> list[dict[str, Any]]:
    """The fields that one fills in."""
    return [element for element in FORMS[form]["body"] if element["type"] != "markdown"]


def test_there_is_a_form_for_bugs_for_data_and_for_wishes_and_no_issue_without_one() -> None:
    assert set(FORMS) == {"bug", "data", "feature"}
    assert yaml.safe_load((TEMPLATES / "config.yml").read_text(encoding="utf-8")) == {"blank_issues_enabled": False}


@every_form
def test_a_form_has_what_github_needs(form: str) -> None:
    content = FORMS[form]
    assert set(content) == {"name", "description", "labels", "body"}
    assert all(isinstance(content[key], str) and content[key].strip() for key in ("name", "description"))
    for element in content["body"]:
        assert element["type"] in KINDS
        assert set(element) <= {"type", "id", "attributes", "validations"}
        assert isinstance(element["attributes"].get("value" if element["type"] == "markdown" else "label"), str)
    fields = fields_of(form)
    for unique in ([field["id"] for field in fields], [field["attributes"]["label"] for field in fields]):
        assert len(set(unique)) == len(unique)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", field["id"]) for field in fields)
    for field in fields:
        options = field["attributes"].get("options", [])
        assert bool(options) == (field["type"] in {"dropdown", "checkboxes"})
        # YAML takes a bare Yes or No for a boolean, which GitHub refuses.
        assert all(isinstance(option["label"] if isinstance(option, dict) else option, str) for option in options)
        assert set(field.get("validations", {})) <= {"required"}


@every_form
def test_a_form_warns_of_secrets_and_phone_numbers_before_anything_else(form: str) -> None:
    first = FORMS[form]["body"][0]
    assert first["type"] == "markdown"
    assert all(word in first["attributes"]["value"] for word in ("secret", "phone number"))


@pytest.mark.parametrize("form", ["bug", "data"])
def test_a_report_needs_version_settings_and_the_summary(form: str) -> None:
    required = {field["id"] for field in fields_of(form) if field.get("validations", {}).get("required")}
    assert {"version", "settings", "summary"} <= required
    (settings,) = (field["attributes"] for field in fields_of(form) if field["id"] == "settings")
    assert all(secret in settings["description"] for secret in ("api_key", "api_secret", "personal_data_salt"))


def test_the_changelog_begins_with_what_is_not_released_and_has_known_kinds_of_changes() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(.+?)\](.*)$", text, re.MULTILINE)
    assert versions[0] == ("Unreleased", "")
    assert all(
        re.fullmatch(r"\d+\.\d+\.\d+", version) and re.fullmatch(r" - \d{4}-\d\d-\d\d", date)
        for version, date in versions[1:]
    )
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_commands_for_contributors_are_there() -> None:
    text = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\./run (\w+)", text)) <= set(COMMANDS)
    named = {module.replace(".", "/") + ".py" for module in re.findall(r"python -m ([\w.]+)", text)}
    named |= set(re.findall(r"\b(?:tests|tap_vonage_reports)/[\w/]+\.py\b", text))
    assert not [path for path in named if not (ROOT / path).is_file()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_what_is_there(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("https://"):
            continue
        path, _, heading = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if heading.startswith("setting-"):  # the site gives each setting one
            assert heading.removeprefix("setting-") in CONFIG_JSONSCHEMA["properties"], link
        elif heading:
            titles = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, link
