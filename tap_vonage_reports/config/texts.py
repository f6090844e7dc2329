"""Settings as text: from environment variables, and where Meltano passes a number, a list or an object as text."""

from __future__ import annotations

import difflib
import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tap_vonage_reports.config.schema import ENVIRONMENT_PREFIX
from tap_vonage_reports.errors import SettingsError
from tap_vonage_reports.redaction import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

logger = logging.getLogger(__name__)

NO_SETTINGS = frozenset({ENVIRONMENT_PREFIX + "LOGLEVEL"})
"""Variables of the SDK."""
CONTROL_CHARACTERS = frozenset(map(chr, range(32)))
"""Characters that are an error of their own."""
MIN_SIMILARITY = 0.7
"""From here on a name counts as a mistyped one: `lookback` for `lookback_hours`, `startdate` for `start_date`."""
QUOTES = "'\"`\u2018\u2019\u201c\u201d\u00ab\u00bb"
"""What may stand around a value that was copied, and belongs to no key or secret."""
_BOOLEANS = dict.fromkeys(("true", "1", "yes", "on"), True) | dict.fromkeys(("false", "0", "no", "off"), False)


def from_environment(environ: Mapping[str, str], jsonschema_: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings found in variables ``TAP_VONAGE_REPORTS_<NAME>``. Empty variables are ignored.

    Lists and objects are JSON; a list may also be words separated by commas.

    Raises:
        SettingsError: A variable does not have the type of its setting, or has nearly the name of a setting.
    """
    config: dict[str, Any] = {}
    problems = list(_mistyped(environ, jsonschema_["properties"]))
    for name, spec in jsonschema_["properties"].items():
        variable = ENVIRONMENT_PREFIX + name.upper()
        text = environ.get(variable, "")
        if not text:
            continue
        try:
            config[name] = _from_text(text, spec)
        except (ValueError, KeyError):
            problems.append(f"The variable {variable} must be of type {names_of_types(spec.get('type', []))}.")
    if problems:
        raise SettingsError(problems)
    return config


def parse_texts(config: Mapping[str, Any], jsonschema_: Mapping[str, Any]) -> dict[str, Any]:
    """Parse the settings that came as text although they are none, as they do through Meltano's environment.

    Args:
        config: The configuration as given.
        jsonschema_: The schema.

    Returns:
        The configuration, in which a setting of another type is a text only where that cannot be parsed. Lists may be
        JSON, words separated by commas, or one word.
    """
    parsed = dict(config)
    for name, spec in jsonschema_["properties"].items():
        if isinstance(text := config.get(name), str):
            with suppress(ValueError, KeyError):  # the check against the schema finds it
                parsed[name] = _from_text(text, spec)
    return parsed


def check_unread_variables(
    config: Mapping[str, Any], environ: Mapping[str, str], jsonschema_: Mapping[str, Any]
) -> None:
    """Reject a configuration without a required setting, or without the address, whose variable is set, but not read.

    Otherwise, a run that is meant for another address, such as the sandbox's, would go to Vonage and be billed.

    Raises:
        SettingsError: Naming the variables.
    """
    variables = {name: ENVIRONMENT_PREFIX + name.upper() for name in [*jsonschema_.get("required", []), "api_url"]}
    problems = [
        f"The variable {variable} is set, but variables are read only with --config ENV. Add that option."
        for name, variable in variables.items()
        if config.get(name) is None and environ.get(variable)
    ]
    if problems:
        raise SettingsError(problems)


def warn_of_quotes(config: Mapping[str, Any]) -> None:
    """Warn of each credential that begins or ends with a space or a quote, as when a shell kept them."""
    for name in ("api_key", "api_secret"):
        value = str(config.get(name) or "")
        if not CONTROL_CHARACTERS & {*value} and value != value.strip().strip(QUOTES):
            logger.warning(
                "The setting %s begins or ends with a space or a quote. If the API rejects it, remove that character",
                name,
            )


def _mistyped(environ: Mapping[str, str], names: Collection[str]) -> Iterator[str]:
    """Word which variables look like settings and are none. Others with the prefix may belong to other programs."""
    known = {ENVIRONMENT_PREFIX + name.upper(): name for name in names}
    for variable in sorted(set(environ) - set(known) - NO_SETTINGS):
        name = variable.removeprefix(ENVIRONMENT_PREFIX)
        close = difflib.get_close_matches(name.lower(), names, 1, MIN_SIMILARITY) if name != variable else []
        if close:
            meant = ENVIRONMENT_PREFIX + close[0].upper()
            yield f"The variable {printable(variable)} is not a setting. Correct it to {meant}, or remove it."


def _from_text(text: str, spec: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON
    kinds = spec.get("type", [])
    if "string" in kinds:
        return text
    if "boolean" in kinds:
        return _BOOLEANS[text.lower()]
    if "array" in kinds and not text.lstrip().startswith("["):
        if words := [word.strip() for word in text.split(",") if word.strip()]:
            return words
        raise ValueError
    return json.loads(text)


def names_of_types(kinds: str | list[str]) -> str:
    """Name the types that a schema allows; null is not mentioned, because it means that a setting is not set."""
    return kinds if isinstance(kinds, str) else " or ".join(kind for kind in kinds if kind != "null")
