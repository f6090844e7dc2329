"""The definition for Meltano's hub matches the tap and meltano.yml, and fits the hub's schema.

Run as a module, this file regenerates the parts of the definition that come from there.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from tests.harness import run_main
from tests.test_meltano import TAP, kind_of_setting

FOLDER = Path(__file__).parent.parent / "docs" / "hub"
FILE, LOGO = FOLDER / "tap-vonage-reports.yml", FOLDER / "logo.svg"
DEFINITION = yaml.safe_load(FILE.read_text(encoding="utf-8"))
FROM_MELTANO_YML = (
    "name",
    "namespace",
    "label",
    "description",
    "executable",
    "capabilities",
    "settings_group_validation",
    "settings",
    "select",
)
WORDS, TEXT = {"type": "string", "minLength": 1}, {"type": "string", "pattern": "\n$"}
NAMES = {"type": "array", "minItems": 1, "uniqueItems": True, "items": WORDS}
ADDRESS = {"type": "string", "pattern": "^https://[^ ]+$"}
HUB: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "namespace", "variant", "quality", "label", "pip_url", "logo_url", "settings"],
    "properties": {
        **dict.fromkeys(("namespace", "label", "description", "definition", "pip_url", "executable"), WORDS),
        **dict.fromkeys(("prereq", "settings_preamble", "next_steps", "usage"), TEXT),
        **dict.fromkeys(("docs", "domain_url", "repo"), ADDRESS),
        **dict.fromkeys(("keywords", "select"), NAMES),
        "name": {"const": "tap-vonage-reports"},
        "variant": {"type": "string", "pattern": "^[a-z0-9-]+$"},
        "logo_url": {"type": "string", "pattern": r"^/assets/logos/extractors/[a-z0-9-]+\.(svg|png)$"},
        "log_parser": {"const": "singer-sdk"},
        "maintenance_status": {"enum": ["active", "beta", "development", "inactive", "unknown"]},
        "quality": {"enum": ["gold", "silver", "bronze", "unknown"]},
        "supported_python_versions": {**NAMES, "items": {"type": "string", "pattern": r"^3\.\d+$"}},
        "settings_group_validation": {"type": "array", "items": NAMES},
        "capabilities": {
            **NAMES,
            "items": {
                "enum": [
                    *("properties", "catalog", "discover", "state", "about", "stream-maps", "schema-flattening"),
                    *("activate-version", "batch", "test", "log-based", "structured-logging"),
                ]
            },
        },
        "settings": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["name", "label", "description", "kind"],
                "properties": {
                    **dict.fromkeys(("name", "label", "description", "placeholder", "documentation"), WORDS),
                    "kind": {
                        "enum": [
                            *("string", "integer", "boolean", "decimal", "date_iso8601", "email", "password", "oauth"),
                            *("options", "file", "array", "object", "hidden"),
                        ]
                    },
                    "value": {},
                    "options": {
                        "type": "array",
                        "items": {"type": "object", "required": ["label", "value"], "additionalProperties": WORDS},
                    },
                    "sensitive": {"type": "boolean"},
                    "hidden": {"type": "boolean"},
                },
            },
        },
    },
}
"""The hub's schema for extractors, limited to what this tap's entry uses."""


class Dumper(yaml.SafeDumper):
    """A dumper that writes texts of several lines as blocks."""


Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def about() -> dict[str, Any]:
    """Return the output of --about."""
    output = run_main("--about", "--format=json")
    assert output.code == 0
    said: dict[str, Any] = json.loads(b"\n".join(output.lines))
    return said


def rendered(definition: dict[str, Any]) -> str:
    """Return the content of the definition's file, with the current parts of the tap and meltano.yml."""
    derived = {
        **{key: TAP[key] for key in FROM_MELTANO_YML},
        "supported_python_versions": about()["supported_python_versions"],
        "log_parser": "singer-sdk",
    }
    return yaml.dump({**definition, **derived}, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120)


def test_definition_matches_the_tap_and_meltano_yml() -> None:
    assert FILE.read_text(encoding="utf-8") == rendered(DEFINITION), "run: python -m tests.test_hub"


def test_definition_fits_the_schema_of_the_hub() -> None:
    assert [error.message for error in Draft7Validator(HUB).iter_errors(DEFINITION)] == []


def test_definition_matches_about() -> None:
    said = about()
    assert DEFINITION["name"] == said["name"]
    assert DEFINITION["capabilities"] == said["capabilities"]
    offered = {setting["name"]: setting for setting in DEFINITION["settings"]}
    properties = said["settings"]["properties"]
    assert list(offered) == list(properties)
    for name, spec in properties.items():
        setting = offered[name]
        assert setting["kind"] == kind_of_setting(spec), name
        assert setting.get("sensitive", False) == spec.get("secret", False), name
        assert [option["value"] for option in setting.get("options", [])] == spec.get("enum", []), name
        assert setting.get("value") == spec.get("default"), name
    assert DEFINITION["settings_group_validation"] == [said["settings"]["required"]]


@pytest.mark.parametrize("key", ["prereq", "settings_preamble", "next_steps", "usage"])
def test_texts_name_only_existing_settings(key: str) -> None:
    settings = {setting["name"] for setting in DEFINITION["settings"]}
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", DEFINITION[key]))
    assert named <= settings


def test_logo_is_self_contained() -> None:
    root = ET.fromstring(LOGO.read_text(encoding="utf-8"))  # noqa: S314 - the project's own file
    elements = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert elements <= {"svg", "g", "rect", "circle", "path"}
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    assert width == height
    assert not [name for element in root.iter() for name in element.attrib if "href" in name]


if __name__ == "__main__":
    FILE.write_text(rendered(DEFINITION), encoding="utf-8")
