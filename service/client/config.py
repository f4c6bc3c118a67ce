"""Where the command finds the service: what flags say holds before the environment, and that before the file."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from service.client.errors import BadRequest
from service.spec.catalog import suggest

DEFAULT_URL = "http://127.0.0.1:8000"
KEYS = ("url", "api_key", "api_key_file", "project")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One value that holds, and where it came from, in words."""

    name: str
    value: str | None
    source: str


@dataclass(frozen=True, kw_only=True)
class Config:
    """What holds now. `warnings` are sentences about files that should be mended."""

    url: Setting
    api_key: Setting
    project: Setting
    """For a key of the installation: in which project it acts."""
    file: Path
    warnings: tuple[str, ...] = ()


def config_file(environment: Mapping[str, str]) -> Path:
    """`trainyard/config.toml` under XDG_CONFIG_HOME, which is ~/.config where it is not set (XDG Base Directory Specification)."""
    home = environment.get("XDG_CONFIG_HOME", "")
    return (Path(home) if Path(home).is_absolute() else Path("~/.config").expanduser()) / "trainyard" / "config.toml"


def read(
    environment: Mapping[str, str] = os.environ, *, url: str | None = None, api_key: str | None = None, project: str | None = None
) -> Config:
    """What holds, with what the flags `--url`, `--api-key` and `--project` say. Raises BadRequest naming a file or variable that cannot be used."""
    file = config_file(environment)
    written = _written(file)
    key, warnings = _key(environment, api_key, written, file)
    return Config(
        url=_first("url", ("--url", url), ("TRAINYARD_URL", environment.get("TRAINYARD_URL")), (str(file), written.get("url")))
        or Setting(name="url", value=DEFAULT_URL, source="default"),
        api_key=key or Setting(name="api_key", value=None, source="not set"),
        project=_first(
            "project",
            ("--project", project),
            ("TRAINYARD_PROJECT", environment.get("TRAINYARD_PROJECT")),
            (str(file), written.get("project")),
        )
        or Setting(name="project", value=None, source="not set"),
        file=file,
        warnings=warnings,
    )


def _first(name: str, *places: tuple[str, str | None]) -> Setting | None:
    return next((Setting(name=name, value=value, source=source) for source, value in places if value), None)


def _key(
    environment: Mapping[str, str], flag: str | None, written: Mapping[str, str], file: Path
) -> tuple[Setting | None, tuple[str, ...]]:
    """The key, and what is wrong with the file that holds it. A file is read only where nothing before it has a key."""
    early = _first("api_key", ("--api-key", flag), ("TRAINYARD_API_KEY", environment.get("TRAINYARD_API_KEY")))
    if early:
        return early, ()
    if named := environment.get("TRAINYARD_API_KEY_FILE"):
        return _from_file(Path(named), "TRAINYARD_API_KEY_FILE")
    if "api_key" in written:
        return Setting(name="api_key", value=written["api_key"], source=str(file)), tuple(_readable_by_others(file))
    if "api_key_file" in written:
        return _from_file(file.parent / Path(written["api_key_file"]).expanduser(), f"api_key_file in {file}")
    return None, ()


def _from_file(path: Path, named_by: str) -> tuple[Setting, tuple[str, ...]]:
    try:
        key = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise BadRequest(f"{named_by} names {path}, which cannot be read: {why}.") from error
    if not key:
        raise BadRequest(f"{named_by} names {path}, which is empty.")
    return Setting(name="api_key", value=key, source=str(path)), tuple(_readable_by_others(path))


def _readable_by_others(path: Path) -> Iterator[str]:
    if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        yield f"{path} holds a key and others can read it. Mend it with: chmod 600 {path}"


def _written(file: Path) -> dict[str, str]:
    """What the file says. Raises BadRequest for what is no TOML, an unknown key, or a value that is no text."""
    try:
        said = tomllib.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"{file} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise BadRequest(f"{file} is no TOML: {error}") from error
    for name, value in said.items():
        if name not in KEYS:
            close = suggest(name, KEYS)
            raise BadRequest(
                f"{file}: `{name}` is not known here. " + (f"Did you mean `{close}`?" if close else f"Known: {', '.join(KEYS)}.")
            )
        if not isinstance(value, str):
            raise BadRequest(f"{file}: `{name}` is text, in quotes.")
    return said
