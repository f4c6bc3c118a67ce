"""Somebody who follows a page word by word: a shell and a Python that stay open, in a folder that looks like a fresh clone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from service.api.examples import examples
from service.local import free_port, wait_for_port
from service.spec.text import parse_body
from tests.e2e.stack import Stack, end, until
from tests.pages import OUTPUT, ROOT, Block

IN_A_CLONE = ("service", "worker", "docs", "README.md", "Makefile", "docker-compose.yml", ".env.example")
REQUIRED = {"dataset", "model", "loss", "optimizer", "epochs"}
ADDRESS = "http://127.0.0.1:8000"
STARTED_BY_THE_TEST = r"^(\w+=\S+ )*make (install|up|demo)\b.*$"
"""test_demo.py runs these as they stand; here the service of the file is theirs."""
_SERVER = re.compile(r"^(?:\w+=\S+ )*trainyard (?:api|worker)\b.*$", flags=re.MULTILINE)
_STEP = re.compile(r"^(?=# \d\. )", flags=re.MULTILINE)
_PYTHON = """
import json, sys, traceback
names = {"__name__": "__main__"}
for line in sys.stdin:
    try:
        exec(compile(json.loads(line), "block", "exec"), names)
        print("\\0 0", flush=True)
    except BaseException:
        traceback.print_exc(file=sys.stdout)
        print("\\0 1", flush=True)
"""
# an answer that is an error ends the page; curl itself would call it a success
_SHELL = 'set -eo pipefail\ncurl() { command curl --fail-with-body --show-error --max-time 60 "$@"; }\n'


class Reader:
    """Follows one page. `job_id` is the last job that the page heard of, JOB_ID in its text."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack, self.folder, self.job_id = stack, folder, "job_" + "0" * 21
        self.words: dict[str, str] = {}
        self._ending = ExitStack()
        for name in IN_A_CLONE:
            (folder / name).symlink_to(ROOT / name)
        (folder / ".venv").symlink_to(sys.prefix)
        binaries = f"{folder}/.venv/bin:{stack.environment['PATH']}"
        self.environment = stack.environment | {
            "TRAINYARD_URL": stack.client.url,
            "PATH": binaries,
            "PYTHONPATH": str(ROOT),
            "TERM": "dumb",
        }
        self._shell: subprocess.Popen[str] | None = None
        self._python: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    def follow(self, block: Block) -> str:
        """Do what a block says; gives what was printed. Raises AssertionError where it does not work."""
        text = self._filled(block.text)
        if block.saved_as:
            (self.folder / block.saved_as).write_text(text)
        if block.not_run or block.language in OUTPUT or (block.saved_as and block.language != "yaml"):
            return ""
        match block.language:
            case "sh":
                said = "".join(self._step(step, str(block)) for step in _STEP.split(block.text))
            case "python":
                said = self._python_says(text, str(block))
            case "yaml":
                said = self._service_accepts(text, block)
            case other:
                raise AssertionError(f"{block}: nobody knows how to run {other}")
        self._hear(said)
        return said

    def _step(self, text: str, place: str) -> str:
        """A numbered step of a block, or all of it. Who fetches has polled before, until the job had ended."""
        if "JOB_ID/artifacts" in text:
            self.stack.client.wait(self.job_id, timeout=120)
        said = self._shell_says(self._filled(text), place)
        self._hear(said)
        return said

    def _hear(self, said: str) -> None:
        self.job_id = ([self.job_id, *re.findall(r"\bjob_[0-9a-f]{21}\b", said)])[-1]

    def _filled(self, text: str) -> str:
        for word, stands_for in {ADDRESS: self.stack.client.url, "JOB_ID": self.job_id, **self.words}.items():
            text = text.replace(word, stands_for)
        return text

    def _shell_says(self, text: str, place: str) -> str:
        for server in _SERVER.findall(text):
            self._start(server)
        text = re.sub(STARTED_BY_THE_TEST, "", _SERVER.sub("", text), flags=re.MULTILINE)
        if self._shell is None:
            self._shell = self._open(["bash", "--noprofile", "--norc"])
            self._tell(self._shell, _SHELL)
        (self.folder / ".block.sh").write_text(text)
        return self._answer(self._shell, '. ./.block.sh </dev/null\nprintf "\\0 0\\n"\n', place)

    def _python_says(self, text: str, place: str) -> str:
        if self._python is None:
            self._python = self._open([sys.executable, "-u", "-c", _PYTHON])
        return self._answer(self._python, json.dumps(text) + "\n", place)

    def _service_accepts(self, text: str, block: Block) -> str:
        said = parse_body(text.encode(), "application/yaml")
        if not set(said) >= REQUIRED:
            assert block.part_of or not block.saved_as, f"{block}: a file that is no whole spec"
            said = {**examples()[block.part_of or "digits-mlp"], **said}
        verdict = self.stack.client.validate(said)
        assert verdict["valid"], f"{block}: {verdict['errors']}"
        return ""

    def _start(self, command: str) -> None:
        """A server that a page starts, on a free port, until the page ends."""
        before, port = self._workers(), free_port()
        command = re.sub(r"TRAINYARD_PORT=\d+", f"TRAINYARD_PORT={port}", command)
        with (self.folder / "server.log").open("ab") as log:
            process = subprocess.Popen(["bash", "-c", f"exec env {command}"], cwd=self.folder, env=self.environment, stdout=log, stderr=log)
        self._ending.callback(end, process)
        if "trainyard api" in command:
            wait_for_port(port, seconds=60, alive=lambda: process.poll() is None)
        else:
            until(lambda: self._workers() > before or process.poll() is not None, seconds=60)
        assert process.poll() is None, (self.folder / "server.log").read_text()

    def _workers(self) -> int:
        return int(self.stack.client.ready()["parts"]["workers"])

    def _open(self, command: list[str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._ending.callback(_close, process)
        return process

    def _answer(self, process: subprocess.Popen[str], text: str, place: str) -> str:
        self._tell(process, text)
        assert process.stdout is not None
        lines = list[str]()
        for line in process.stdout:
            said, mark, status = line.partition("\0")
            lines.append(said)
            if mark:
                assert status.strip() == "0", f"{place} fails:\n{''.join(lines)}"
                return "".join(lines)
        raise AssertionError(f"{place} fails:\n{''.join(lines)}")

    @staticmethod
    def _tell(process: subprocess.Popen[str], text: str) -> None:
        assert process.stdin is not None
        process.stdin.write(text)
        process.stdin.flush()


def _close(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.stdout.close()
    end(process)
