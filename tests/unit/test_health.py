"""What a container says to HEALTHCHECK."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from service import health
from service.local import free_port


def test_a_worker_whose_beat_is_fresh_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    beat = tmp_path / "beat"
    monkeypatch.setenv("TRAINYARD_BEAT_FILE", str(beat))
    beat.touch()

    assert health.main() == 0

    old = time.time() - health.FRESH_SECONDS - 1
    os.utime(beat, (old, old))
    assert health.main() == 1


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_an_api_is_as_ready_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, code: int):
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the library's name
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        serving = Thread(target=server.serve_forever)
        serving.start()
        monkeypatch.setenv("TRAINYARD_BEAT_FILE", str(tmp_path / "no-worker-here"))
        monkeypatch.setenv("TRAINYARD_PORT", str(server.server_port))
        try:
            assert health.main() == code
        finally:
            server.shutdown()
            serving.join()


def test_where_nothing_answers_it_is_not_well_and_says_why(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("TRAINYARD_PORT", str(free_port()))

    assert health.main() == 1
    assert "refused" in capsys.readouterr().out


def test_it_loads_little():
    """It runs every ten seconds in every container."""
    code = "import service.health, sys; sys.exit(bool({'torch', 'redis', 'pydantic', 'celery'} & sys.modules.keys()))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
