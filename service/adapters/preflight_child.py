"""The Preflight port: a warm child process with torch, started anew when it dies or takes too long. Torch itself never comes in here."""

from __future__ import annotations

import importlib.util
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

from service.jobs.errors import PreflightBusy, Unavailable
from service.spec.verdict import Fault, Verdict

CHILD_MODULE = "worker.training.preflight"


class PreflightChild:
    """One child; callers take turns. `threads` fills in `resources.threads` where a spec names none."""

    def __init__(self, *, threads: int, timeout_seconds: float = 20, start_seconds: float = 90) -> None:
        self._threads, self._timeout, self._start_seconds = threads, timeout_seconds, start_seconds
        self._turn = threading.Lock()
        self._child: _Child | None = None
        self._count = 0

    @staticmethod
    def available() -> bool:
        """Whether torch and the worker's code are installed beside this process."""
        return all(importlib.util.find_spec(name) is not None for name in ("torch", "torchvision", "worker"))

    def warm(self) -> None:
        """Start the child now, so that the first check does not wait for torch."""
        with self._turn:
            self._running()

    def check(self, spec: Mapping[str, Any]) -> Verdict:
        """Every fault of a spec. Raises PreflightBusy, and Unavailable where torch is not installed."""
        if not self._turn.acquire(timeout=self._timeout):
            raise PreflightBusy("Every checking child is busy.")
        try:
            child = self._running()
            self._count += 1
            answer = child.ask({"id": self._count, "spec": dict(spec), "threads": self._threads}, seconds=self._timeout)
        except _Gone as gone:
            self._drop()
            detail = f"Checking this spec {gone}, so it would not train here either."
            return Verdict(
                valid=False, errors=(Fault(pointer="", code="check_exhausted", detail=detail, suggestion="Make the model smaller."),)
            )
        finally:
            self._turn.release()
        return Verdict.model_validate(answer["verdict"])

    def close(self) -> None:
        """End the child."""
        with self._turn:
            self._drop()

    def _running(self) -> _Child:
        if not self.available():
            raise Unavailable("torch is not installed beside the API: jobs are checked by the worker instead.")
        if self._child is None or not self._child.alive:
            self._drop()
            try:
                self._child = _Child(start_seconds=self._start_seconds)
            except _Gone as gone:
                raise PreflightBusy(f"The checking child {gone} at its start.") from gone
        return self._child

    def _drop(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child = None


class _Gone(Exception):
    """The child died or did not answer in time."""


class _Child:
    def __init__(self, *, start_seconds: float) -> None:
        # -c instead of -m: a module that is also imported by others must not run twice under two names
        command = [sys.executable, "-c", f"import {CHILD_MODULE} as child; child.main()"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._read, name="preflight-lines", daemon=True).start()
        try:
            self._next(start_seconds)
        except _Gone:
            self.kill()
            raise

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: Mapping[str, Any], *, seconds: float) -> dict[str, Any]:
        assert self._process.stdin is not None  # noqa: S101  # Popen was given PIPE
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise _Gone("ended the checking process") from error
        return dict(json.loads(self._next(seconds)))

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101  # Popen was given PIPE
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def _next(self, seconds: float) -> bytes:
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty as error:
            raise _Gone(f"took longer than {seconds:g} s") from error
        if not line:
            raise _Gone("ended the checking process (out of memory?)")
        return line
