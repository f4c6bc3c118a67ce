"""What one run of the command was told for every command alike: which service, which key, how to print."""

from __future__ import annotations

from dataclasses import dataclass

from service.client import config
from service.client.cli.printing import err
from service.client.sdk import Client


@dataclass
class Said:
    """The flags that every command takes."""

    url: str | None = None
    api_key: str | None = None
    project: str | None = None
    as_json: bool = False
    quiet: bool = False


said = Said()


def settings() -> config.Config:
    """Where the service is, by flags, environment and file. Raises BadRequest."""
    return config.read(url=said.url, api_key=said.api_key, project=said.project)


def connect() -> Client:
    """A client of that service. Raises BadRequest where the address or the key cannot be used."""
    found = settings()
    if not said.quiet:
        for warning in found.warnings:
            err.print(f"warning: {warning}")
    return Client(found.url.value, found.api_key.value, found.project.value)
