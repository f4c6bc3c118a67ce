"""The command against answers made up by a test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest

from service.client import cli, patience, sdk
from service.client.cli import session

Trainyard = Callable[..., int]


@pytest.fixture
def trainyard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Trainyard:
    """Run the command with some arguments against some answers; gives its exit code."""
    for name in ("TRAINYARD_URL", "TRAINYARD_API_KEY", "TRAINYARD_API_KEY_FILE", "TRAINYARD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(patience, "threading", SimpleNamespace(Event=lambda: SimpleNamespace(wait=lambda _: None)))

    def run(*arguments: str, answer: Callable[[httpx2.Request], httpx2.Response]) -> int:
        def client(_: str | None, key: str | None, project: str | None) -> sdk.Client:
            made = sdk.Client("http://trainyard.test", key, project)
            made.close()
            made._http = httpx2.Client(base_url=made.url, headers=made._headers, transport=httpx2.MockTransport(answer))
            return made

        monkeypatch.setattr(session, "Client", client)
        monkeypatch.setattr("sys.argv", ["trainyard", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0)

    return run
