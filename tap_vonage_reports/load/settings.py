"""The settings of target-vonage-files, from configuration files and the environment."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from tap_vonage_reports.errors import SettingsError
from tap_vonage_reports.redaction import name_for_log, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

NAME = "target-vonage-files"
ENVIRONMENT = "ENV"
"""Instead of the path of a configuration file: the environment."""
PREFIX = "TARGET_VONAGE_FILES_"
LOG_LEVEL = f"{PREFIX}LOGLEVEL"
_NO_PATH = re.compile(r"\s*(:|[A-Za-z][A-Za-z0-9_+.-]+:)")
"""A DuckDB database in memory or elsewhere, such as ``:memory:`` or ``md:name``. One letter is a drive of Windows."""
_SERVER = ("url", "host", "user", "password", "database")


def _setting(title: str, description: str, *, secret: bool = False) -> Meta:
    return Meta(title=title, description=description, extra_json_schema={"secret": True} if secret else None)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings. The destination is a DuckDB file if `duckdb_path` is set, and PostgreSQL otherwise."""

    duckdb_path: Annotated[
        str | None, _setting("DuckDB file", "DuckDB file to load into. It is created if missing. Excludes PostgreSQL.")
    ] = None
    host: Annotated[str | None, _setting("Host", "Host name of the PostgreSQL server.")] = None
    port: Annotated[int, _setting("Port", "Port of the PostgreSQL server.")] = 5432
    user: Annotated[str | None, _setting("User", "User name for the database.")] = None
    password: Annotated[str | None, _setting("Password", "Password of the user.", secret=True)] = None
    database: Annotated[str | None, _setting("Database", "Name of the database.")] = None
    url: Annotated[
        str | None,
        _setting("URL", "Connection URL of PostgreSQL, instead of the settings above: postgresql://...", secret=True),
    ] = None
    ssl_mode: Annotated[
        str | None, _setting("SSL mode", "Verification mode, as sslmode of libpq, such as verify-full.")
    ] = None
    ssl_certificate_authority: Annotated[
        str | None, _setting("SSL certificate authority", "File with the certificate of the server's authority.")
    ] = None
    default_target_schema: Annotated[str, _setting("Schema", "Schema for the tables. It is created if missing.")] = (
        "vonage"
    )
    add_record_metadata: Annotated[
        bool, _setting("Record metadata", "Add the columns _sdc_extracted_at, _sdc_batched_at and others.")
    ] = True
    load_leftovers: Annotated[
        bool, _setting("Leftovers", "Load and remove the files that an interrupted run of this loader left.")
    ] = True
    storage_params: Annotated[
        dict[str, Any],
        _setting("Storage parameters", "Options for fsspec, if the files are not in a local folder.", secret=True),
    ] = {}

    @property
    def secrets(self) -> set[str]:
        """The values that no log line may contain."""
        secrets = {str(value) for value in self.storage_params.values()}
        if self.password:
            secrets.add(self.password)
        if self.url:
            secrets.add(self.url)
            credentials, at, _ = self.url.partition("://")[2].rpartition("@")
            if at and ":" in credentials:
                secrets.add(credentials.partition(":")[2])
        return secrets

    @property
    def server(self) -> tuple[str, dict[str, object]]:
        """The address of the PostgreSQL server, which may be empty, and its parameters, as libpq takes them."""
        parameters = {
            "host": self.host,
            "port": self.port if not self.url else None,
            "user": self.user,
            "password": self.password,
            "dbname": self.database,
            "sslmode": self.ssl_mode,
            "sslrootcert": self.ssl_certificate_authority,
        }
        # SQLAlchemy's form of the address, as target-postgres takes it, names a driver.
        scheme, separator, rest = (self.url or "").partition("://")
        address = f"{scheme.partition('+')[0]}{separator}{rest}"
        return address, {name: value for name, value in parameters.items() if value is not None}

    @property
    def identity(self) -> str:
        """What identifies the destination, whatever the credentials are: 16 hexadecimal digits."""
        address, parameters = self.server
        place = address.rpartition("@")[2], *(parameters.get(name) for name in ("host", "port", "dbname"))
        path = str(Path(self.duckdb_path).expanduser().absolute()) if self.duckdb_path else ""
        return hashlib.sha256(repr((place, path, self.default_target_schema)).encode()).hexdigest()[:16]


SETTINGS: tuple[str, ...] = Settings.__struct_fields__


def read_settings(sources: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Read the settings. A later source takes precedence over an earlier one.

    Args:
        sources: Paths of JSON files, or `ENVIRONMENT`. If there are none, the environment.
        environment: The environment variables.

    Raises:
        SettingsError: A file cannot be read, or a setting is wrong.
    """
    values: dict[str, Any] = {}
    for source in sources or (ENVIRONMENT,):
        values.update(_from_environment(environment) if source == ENVIRONMENT else _from_file(Path(source)))
    # Meltano passes a setting that is not set as null or as an empty text.
    values = {name: value for name, value in values.items() if value is not None and value != ""}
    problems = [
        f"There is no setting {name_for_log(name, _texts(values))}. Correct its name, or remove it."
        for name in values
        if name not in SETTINGS
    ]
    if problems:
        raise SettingsError(problems)
    try:
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        # "Expected `int`, got `str` - at `$.port`"
        what, _, place = str(error).partition(" - at ")
        name = place.strip("`$.").partition("[")[0]
        problem = f"The setting {name if name in SETTINGS else '(unknown)'} has the wrong type: {what.lower()}."
        raise SettingsError([problem]) from None
    _check_destination(settings)
    return settings


def about() -> dict[str, Any]:
    """Return the JSON Schema of the settings."""
    schema: dict[str, Any] = msgspec.json.schema(Settings)["$defs"]["Settings"]
    return {"type": "object", "properties": schema["properties"]}


def _check_destination(settings: Settings) -> None:
    given = [name for name in _SERVER if getattr(settings, name)]
    if settings.duckdb_path and _NO_PATH.match(settings.duckdb_path):
        problem = "The setting duckdb_path is not the path of a file, so the rows would be lost. Set it to a path."
    elif settings.duckdb_path and given:
        problem = f"Both duckdb_path and {given[0]} are set. Set the first for a DuckDB file, the other for PostgreSQL."
    elif not settings.duckdb_path and not given:
        problem = "No destination is set. Set duckdb_path, or url, or host, user, password and database for PostgreSQL."
    elif settings.url and settings.url.partition("://")[0].partition("+")[0] not in {"postgresql", "postgres"}:
        problem = "The setting url is not an address of PostgreSQL. It begins with postgresql://."
    else:
        return
    raise SettingsError([problem])


def _texts(values: Mapping[str, Any]) -> Iterable[str]:
    return [value for value in values.values() if isinstance(value, str)]


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX) and name != LOG_LEVEL
    }
    if parameters := values.get("storage_params"):
        try:
            values["storage_params"] = json.loads(parameters)
        except ValueError:
            raise SettingsError(["The setting storage_params is not JSON. Write it as a JSON object."]) from None
    return values


def _from_file(path: Path) -> dict[str, Any]:
    name = printable(str(path))
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        why = error.strerror or type(error).__name__
        problem = f"The configuration file {name} cannot be read: {why}. Check the path."
    except (ValueError, RecursionError):
        problem = f"The configuration file {name} is not JSON in UTF-8. Correct it."
    else:
        if isinstance(content, dict):
            return content
        problem = f"The configuration file {name} is not a JSON object. Write the settings as a JSON object."
    raise SettingsError([problem])
