"""`trainyard up` as a user starts it, everything that it answers, and what must not be in there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2

from service.client.sdk import Client
from service.local import free_port
from tests.e2e.stack import ROOT, end, until

PARTS = ("valkey", "rclone", "service.main", "worker.main")
SETTINGS = ("TRAINYARD_", "AWS_", "S3_", "REDIS_")


class Told:
    """Everything that came back, by what was asked."""

    def __init__(self, url: str, key: str) -> None:
        self.texts: dict[str, str] = {}
        self._client = httpx2.Client(base_url=url, timeout=60, trust_env=False, headers={"Authorization": f"Bearer {key}"})

    def close(self) -> None:
        self._client.close()

    def ask(self, method: str, path: str, **request: Any) -> httpx2.Response:
        answer = self._client.request(method, path, **request)
        number = len(self.texts)
        self.texts[f"{number} {method} {path} -> {answer.status_code}"] = f"{answer.headers}\n{answer.text}"
        return answer

    def take_all(self, job: str) -> None:
        """Whatever there is of a job."""
        for part in ("", "/events", "/metrics", "/metrics?per=step&format=csv", "/logs", "/checkpoints", "/artifacts"):
            self.ask("GET", f"/v1/jobs/{job}{part}")
        for part in ("head", "layers", "results", "log", "files", "spec", "program", "try"):
            self.ask("GET", f"/ui/jobs/{job}/{part}")
        whole = self.ask("GET", f"/v1/jobs/{job}/artifacts.zip")
        if whole.status_code == 200:
            with zipfile.ZipFile(BytesIO(whole.content)) as archive:
                for name in archive.namelist():
                    self.texts[f"artifact {name} of {job}"] = archive.read(name).decode("latin-1")


@dataclass(frozen=True, kw_only=True)
class House:
    """One `trainyard up`, with a key, in a folder of its own."""

    folder: Path
    client: Client
    pid: int

    @property
    def data(self) -> Path:
        """Its data folder."""
        return self.folder / "data"

    def parts(self) -> dict[str, int]:
        """The pids of its parts by name."""
        found = {}
        for child in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
            command = Path(f"/proc/{child}/cmdline").read_bytes().decode()
            found[next(name for name in PARTS if name in command)] = int(child)
        return found

    def logs(self) -> dict[str, str]:
        """All that its parts wrote down for whoever runs them."""
        return {str(path.relative_to(self.folder)): path.read_text(errors="replace") for path in self.folder.rglob("*.log")}

    def records(self) -> dict[str, str]:
        """All texts in its storage."""
        kinds = (".json", ".jsonl", ".txt", ".md", ".py")
        paths = (path for path in (self.data / "s3").rglob("*") if path.is_file() and path.suffix in kinds)
        return {str(path.relative_to(self.folder)): path.read_text(errors="replace") for path in paths}

    def places(self) -> tuple[str, ...]:
        """Where it lies, and what it is made of."""
        return str(ROOT), str(self.folder), sys.prefix, "/site-packages/"


@contextmanager
def running_house(folder: Path, *, key: str, **settings: str) -> Iterator[House]:
    """The command, its own Valkey, S3, API and worker; ended when the block is left."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    environment |= {"PYTHONPATH": str(ROOT), "TRAINYARD_API_KEY": key, **settings}
    command = [sys.executable, "-m", "service.client.cli", "up", "--port", str(port), "--data-dir", str(folder / "data"), "--threads", "1"]
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        until(lambda: b"serves at" in (folder / "up.log").read_bytes() or process.poll() is not None, seconds=120)
        assert process.poll() is None, (folder / "up.log").read_text()
        with Client(f"http://127.0.0.1:{port}", key) as client:
            yield House(folder=folder, client=client, pid=process.pid)
    finally:
        end(process)


def found(words: Iterable[str], texts: Mapping[str, str]) -> list[str]:
    """Each word that stands in a text, with the text around it."""
    return [
        f"{word} in {name}: {text[max(0, text.index(word) - 200) : text.index(word) + 100]}"
        for name, text in texts.items()
        for word in words
        if word in text
    ]


def frames(texts: Mapping[str, str]) -> list[str]:
    """Lines of tracebacks. A custom module's own lines may be told to whoever sent it: they name the file that its code is."""
    pattern = re.compile(r'File \\?"(?!<?(?:model|custom|module)[^"]*")[^"]+\\?", line \d+')
    return [f"{match.group()} in {name}" for name, text in texts.items() for match in pattern.finditer(text)]
