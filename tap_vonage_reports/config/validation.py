"""Checks of a configuration: the schema, contradictions, and characters that no request can carry.

Every message names the setting, says what is wrong and what to do, and never repeats a value.
"""

from __future__ import annotations

import fnmatch
import math
import re
import unicodedata
from functools import partial
from typing import TYPE_CHECKING, Any

import jsonschema

from tap_vonage_reports.config.schema import (
    ASYNC,
    BOOLEAN_PARAMS,
    CALLBACK_URL,
    COMPRESSIONS,
    CONFIG_JSONSCHEMA,
    DIRECTION,
    EACH,
    ENVIRONMENT_PREFIX,
    HASH,
    INCLUDE_SUBACCOUNTS,
    NO_SUBACCOUNTS,
    SYNC,
    TOGETHER,
)
from tap_vonage_reports.config.texts import names_of_types
from tap_vonage_reports.config.urls import api_url_problems, callback_url_problems, url_secrets
from tap_vonage_reports.errors import SettingsError
from tap_vonage_reports.exact_json import texts_of
from tap_vonage_reports.products import BOTH_DIRECTIONS, PRODUCTS
from tap_vonage_reports.redaction import name_for_log
from tap_vonage_reports.sources import SOURCES
from tap_vonage_reports.timestamps import parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import TypeAlias

    from tap_vonage_reports.products import Product

    Named: TypeAlias = Callable[[str], str]

MIN_SALT_CHARACTERS = 16
"""Characters of a salt: 64 bits if they are hexadecimal digits."""
SALT_COMMAND = "python -c 'import secrets; print(secrets.token_urlsafe(32))'"

# A single letter before the colon is a drive of Windows.
_URL_WITHOUT_SLASHES = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:(?!//)")


def secrets_of(config: Mapping[str, Any]) -> list[str]:
    """Return every value of a configuration, valid or not, that no log line and no error may show."""
    names = [name for name, spec in CONFIG_JSONSCHEMA["properties"].items() if spec.get("secret")]
    secrets = [config[name] for name in names if isinstance(config.get(name), str)]
    if isinstance(url := config.get(CALLBACK_URL), str):
        secrets += url_secrets(url)
    batch_config = config.get("batch_config")
    storage = batch_config.get("storage") if isinstance(batch_config, dict) else None
    return [*secrets, *texts_of(storage.get("params"))] if isinstance(storage, dict) else secrets


def validate(config: Mapping[str, Any], jsonschema_: Mapping[str, Any]) -> dict[str, Any]:
    """Check a configuration and fill in the defaults.

    Args:
        config: The configuration as given. A setting that is null counts as not set.
        jsonschema_: The schema: `CONFIG_JSONSCHEMA` with the SDK's additions.

    Returns:
        The settings that are set or have a default.

    Raises:
        SettingsError: With every problem found.
    """
    given = {name: value for name, value in config.items() if value is not None}
    named = partial(name_for_log, secrets=secrets_of(given))
    if problems := list(_schema_problems(given, jsonschema_, named)):
        raise SettingsError(problems)
    values = {name: spec["default"] for name, spec in jsonschema_["properties"].items() if "default" in spec} | given
    if problems := list(_value_problems(values, named)):
        raise SettingsError(problems)
    return values


def _schema_problems(given: Mapping[str, Any], jsonschema_: Mapping[str, Any], named: Named) -> Iterator[str]:
    """Word the violations of the schema. The library's own words repeat the value."""
    try:
        errors = list(jsonschema.Draft7Validator(jsonschema_).iter_errors(given))
    except AttributeError:  # the SDK's schema for it is malformed, which only a wrong value brings to light
        yield (
            "The setting stream_maps is not valid: __else__ can only be null, which removes all other streams or "
            "properties. Correct it."
        )
        return
    for error in errors:
        path = [named(part) if isinstance(part, str) else str(part) for part in error.absolute_path]
        if error.validator == "required":
            # The library reports one error per name and does not say which, so the first one stands for all.
            missing = [name for name in error.validator_value if name not in error.instance]
            for name in missing if error.message.startswith(repr(missing[0])) else []:
                or_variable = f", or the variable {ENVIRONMENT_PREFIX}{name.upper()}" if not path else ""
                yield f"The setting {'.'.join([*path, name])} is missing. Set it{or_variable}."
        elif error.validator == "additionalProperties":
            known = error.schema.get("properties", {})
            for name in sorted(set(error.instance) - set(known)):
                unknown = ".".join([*path, named(name)])
                yield f"The setting {unknown} is unknown. Correct or remove it. Known: {', '.join(sorted(known))}."
        else:
            yield from _limit_problems(".".join(path) or "configuration", str(error.validator), error.validator_value)


def _limit_problems(name: str, keyword: str, limit: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON
    """Word the violation of one keyword of JSON Schema."""
    match keyword:
        case "type":
            yield f"The setting {name} must be of type {names_of_types(limit)}."
        case "enum":
            yield f"The setting {name} must be one of {', '.join(map(str, limit))}."
        case "minLength":
            yield f"The setting {name} must not be empty."
        case "minimum":
            yield f"The setting {name} must be at least {limit}."
        case "exclusiveMinimum":
            yield f"The setting {name} must be more than {limit}."
        case "maximum":
            yield f"The setting {name} must be at most {limit}."
        case _:
            yield f"The setting {name} is not valid. See --about for its valid values."


def _value_problems(values: Mapping[str, Any], named: Named) -> Iterator[str]:
    """Find what fits the schema and still cannot work."""
    accounts = values.get("account_ids") or []
    if len(set(accounts)) < len(accounts):
        yield "The setting account_ids lists an account twice. List each account once."
    for name in ("api_key", "api_secret"):
        if not values[name].strip():
            yield f"The setting {name} must not be empty."
    if ":" in values["api_key"]:
        yield "The setting api_key contains a colon, which HTTP Basic authentication cannot carry. Check the key."
    yield from _subaccount_problems(values, named)
    yield from _number_problems(values, named)
    yield from _character_problems(values, named)
    yield from _date_problems(values)
    yield from api_url_problems(values["api_url"])
    yield from callback_url_problems(values[CALLBACK_URL]) if CALLBACK_URL in values else ()
    yield from _batch_problems(values)
    yield from _salt_problems(values)
    yield from _map_problems(values, named)
    for stream, options in values.get("stream_options", {}).items():
        if stream not in PRODUCTS:
            yield (
                f"The setting stream_options names the unknown stream {named(stream)}. Correct or remove it. "
                f"Known: {', '.join(PRODUCTS)}."
            )
        else:
            is_together = values.get("subaccounts") == TOGETHER
            mode = ASYNC if is_together else options.get("fetch_mode") or values["fetch_mode"]
            yield from _filter_problems(PRODUCTS[stream], options.get("filters") or {}, mode, named)


def _subaccount_problems(values: Mapping[str, Any], named: Named) -> Iterator[str]:
    """Find settings that contradict the way in which sub-accounts are read."""
    mode, older = values.get("subaccounts"), values.get(INCLUDE_SUBACCOUNTS)
    if mode is not None and older is not None and mode != (EACH if older else NO_SUBACCOUNTS):
        yield (
            f"The settings subaccounts and {INCLUDE_SUBACCOUNTS} contradict each other. Remove {INCLUDE_SUBACCOUNTS}, "
            "the older form: true means each, false means none."
        )
    if mode != TOGETHER:
        return
    if set(values.get("account_ids") or ()) - {values["api_key"]}:
        yield (
            "The settings account_ids and subaccounts together cannot be combined: such reports cover the account of "
            "api_key and all its sub-accounts. Remove account_ids, or set subaccounts to none."
        )
    modes = {"fetch_mode": values["fetch_mode"]} | {
        f"stream_options.{named(stream)}.fetch_mode": options.get("fetch_mode")
        for stream, options in values.get("stream_options", {}).items()
    }
    for name, fetch_mode in modes.items():
        if fetch_mode == SYNC:
            yield (
                f"The setting {name} cannot be sync with subaccounts together, because only asynchronous reports can "
                f"include sub-accounts. Remove {name}, or set subaccounts to each."
            )


def _salt_problems(values: Mapping[str, Any]) -> Iterator[str]:
    salt, hint = values.get("personal_data_salt", "").strip(), f"Generate one with {SALT_COMMAND} and keep it"
    if values["personal_data"] == HASH and not salt:
        yield (
            "The setting personal_data_salt is missing. Without a salt, hashed phone numbers can be guessed. "
            f"{hint}: a different salt changes all hashes."
        )
    elif "personal_data_salt" in values and len(salt) < MIN_SALT_CHARACTERS:
        yield (
            f"The setting personal_data_salt must have at least {MIN_SALT_CHARACTERS} characters, not counting spaces "
            f"at its ends. A shorter salt can be guessed. {hint}: a different salt changes all hashes."
        )


def _character_problems(values: Mapping[str, Any], named: Named) -> Iterator[str]:
    """Find control characters, and surrogates, which stand for bytes that are not UTF-8."""
    texts = {name: [values[name]] for name in ("api_key", "api_secret", "api_url", CALLBACK_URL) if name in values}
    texts["account_ids"] = values.get("account_ids") or []
    for stream, options in values.get("stream_options", {}).items():
        texts[f"stream_options.{named(stream)}.filters"] = list((options.get("filters") or {}).values())
    for name, given in texts.items():
        if any(unicodedata.category(character) in ("Cc", "Cs") for text in given for character in text):
            yield (
                f"The setting {name} contains a control character, such as a line break, or bytes that are not UTF-8. "
                "No request can carry them. Remove them."
            )
        elif name == "account_ids" and not all(map(str.isprintable, given)):
            yield (
                "The setting account_ids contains a character that is not printable. Log lines show account IDs, and "
                "no genuine ID has such characters. Remove them."
            )


def _number_problems(values: Mapping[str, Any], named: Named) -> Iterator[str]:
    """Find NaN, which Python's JSON parser accepts and no limit excludes."""
    numbers = {name: value for name, value in values.items() if isinstance(value, float)}
    for stream, options in values.get("stream_options", {}).items():
        numbers[f"stream_options.{named(stream)}.lookback_hours"] = options.get("lookback_hours") or 0
    for name, number in numbers.items():
        if math.isnan(number):
            yield f"The setting {name} must be a number."


def _date_problems(values: Mapping[str, Any]) -> Iterator[str]:
    dates = {}
    for name in ("start_date", "end_date"):
        try:
            dates[name] = parse_time(values[name]) if name in values else None
        except ValueError:
            yield (
                f"The setting {name} is not an ISO 8601 date or time. Write it like 2026-10-01 or 2026-10-01T00:00:00Z."
            )
    start, end = dates.get("start_date"), dates.get("end_date")
    if start and end and start > end:
        yield "The setting start_date is after end_date. Swap them, or remove end_date to sync until now."


def _batch_problems(values: Mapping[str, Any]) -> Iterator[str]:
    if not (config := values.get("batch_config")):
        return
    if _URL_WITHOUT_SLASHES.match(config["storage"]["root"]):
        yield (
            "The setting batch_config.storage.root begins like a URL but has no // after the colon. Write it like "
            "s3://bucket/folder, or begin a local folder with ./ or /."
        )
    kind, compression = config["encoding"]["format"], config["encoding"].get("compression")
    if compression and compression not in COMPRESSIONS[kind]:
        known = ", ".join(COMPRESSIONS[kind])
        yield f"The setting batch_config.encoding.compression must be one of {known} for {kind}."
    for name in ("stream_maps", "flattening_enabled"):
        if values.get(name):
            yield (
                f"The settings batch_config and {name} cannot be combined, because the tap writes the files before "
                "the SDK maps or flattens records. Remove one."
            )


def _map_problems(values: Mapping[str, Any], named: Named) -> Iterator[str]:
    """Find maps of streams that do not exist, which the SDK ignores. A name may be a pattern, as for the SDK."""
    for name, definition in (values.get("stream_maps") or {}).items():
        source = definition.get("__source__", name) if isinstance(definition, dict) else name
        if name != "__else__" and not fnmatch.filter(SOURCES, str(source)):
            yield (
                f"The setting stream_maps names the unknown stream {named(source)}. Correct or remove it. "
                f"Known: {', '.join(SOURCES)}."
            )
    if values.get("flattening_enabled") and values.get("flattening_max_depth") is None:
        yield "The setting flattening_max_depth is missing. Set it to the number of nested levels that become columns."


def _filter_problems(product: Product, filters: Mapping[str, str], mode: str, named: Named) -> Iterator[str]:
    # In mode auto the newest time range is always fetched page by page, so the filter has to work there.
    accepted = product.async_filters if mode == ASYNC else product.sync_filters
    known = [*accepted, *([DIRECTION] if product.directions else [])]
    setting = f"stream_options.{product.stream}.filters"
    for name in sorted(set(filters) - set(known)):
        if name in BOOLEAN_PARAMS:
            yield f"The setting {setting} contains {name}, which is not a filter. Use the setting {name}."
        else:
            accepts = f"accepts only {', '.join(known)}" if known else "accepts none"
            yield (
                f"The setting {setting} contains the unknown filter {named(name)}. "
                f"For this product the API {accepts} in mode {mode}. Correct or remove it."
            )
    for name, value in filters.items():
        if name in known and not value:
            yield f"The setting {setting}.{name} must not be empty. Set it, or remove it to fetch all rows."
    if DIRECTION in known and filters.get(DIRECTION) not in (None, "", *BOTH_DIRECTIONS):
        yield f"The setting {setting}.{DIRECTION} must be one of {', '.join(BOTH_DIRECTIONS)}."
