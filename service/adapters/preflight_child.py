"""The Preflight port: warm child processes with torch, which check specs and write programs, started anew when they die or take too long. Torch itself never comes in here."""

from __future__ import annotations

import importlib.util
import json
import queue
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from service.adapters import bubblewrap
from service.adapters.answers import Answers
from service.jobs.errors import PreflightBusy, Unavailable
from service.jobs.ports import PreflightLoad
from service.spec.checking import digest, is_custom
from service.spec.verdict import Checked, Fault

T = TypeVar("T")
CHILD_MODULE = "worker.training.preflight"
MEMORY_BYTES = 12 * 1024**3
"""Address space of a checking child; torch alone takes some 4 GiB of it."""
REMEMBERED = 1000

StartContained = Callable[[], "subprocess.Popen[bytes]"]


class PreflightChildren:
    """A few children, each checking one spec at a time, and the verdicts of late by what they depend on.

    `contained` starts a throw-away child for custom code. Raises NotContained.
    """

    def __init__(
        self,
        *,
        children: int = 1,
        contained: StartContained,
        timeout_seconds: float = 20,
        wait_seconds: float = 5,
        start_seconds: float = 90,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self._contained, self._memory_bytes = contained, memory_bytes
        self._timeout, self._wait, self._start_seconds = timeout_seconds, wait_seconds, start_seconds
        self._idle: queue.LifoQueue[_Child | None] = queue.LifoQueue()  # None: a place whose child is not started
        for _ in range(children):
            self._idle.put(None)
        self._places = children
        self._apart = threading.BoundedSemaphore(children)
        self._verdicts: OrderedDict[str, Checked] = OrderedDict()
        self._lock = threading.Lock()
        self._asked, self._refused, self._waited = 0, 0, 0.0

    @staticmethod
    def available() -> bool:
        """Whether torch and the worker's code are installed beside this process."""
        return all(importlib.util.find_spec(name) is not None for name in ("torch", "torchvision", "worker"))

    def warm(self) -> None:
        """Start a child now, so that the first check does not wait for torch."""
        self._give_back(self._ready(self._idle.get()))

    def check(self, parts: Mapping[str, Any]) -> Checked:
        """Every fault that building shows. Raises PreflightBusy, and Unavailable where torch is not installed."""
        if not self.available():
            raise Unavailable("torch is not installed beside the API: jobs are checked by the worker instead.")
        key = digest(parts)
        if (known := self._remembered(key)) is not None:
            return known
        try:
            checked = self._checked_apart(parts) if is_custom(parts) else self._checked(parts, key)
        except _Gone as gone:
            detail = f"Checking this spec {gone}, so it would not train here either."
            fault = Fault(pointer="", code="check_exhausted", detail=detail, suggestion="Make the model or its samples smaller.")
            return Checked(errors=(fault,))
        with self._lock:
            self._verdicts[key] = checked
            while len(self._verdicts) > REMEMBERED:
                self._verdicts.popitem(last=False)
        return checked

    def close(self) -> None:
        """End the children, each as soon as it is idle."""
        for _ in range(self._places):
            try:
                child = self._idle.get(timeout=self._timeout)
            except queue.Empty:
                return
            if child is not None:
                child.kill()

    def _remembered(self, key: str) -> Checked | None:
        with self._lock:
            if key in self._verdicts:
                self._verdicts.move_to_end(key)
            return self._verdicts.get(key)

    def script(self, resolved: Mapping[str, Any]) -> str:
        """A resolved spec as train.py. Raises PreflightBusy, and Unavailable where torch is not installed. Custom code is written down, not run."""
        if not self.available():
            raise Unavailable("torch is not installed beside the API: the program is written by the worker, among the job's artifacts.")
        child = self._ready(self._place())
        try:
            return child.ask({"script": dict(resolved)}, str, seconds=self._timeout)
        except _Gone as gone:
            raise Unavailable(f"Writing the program {gone}.") from gone
        finally:
            self._give_back(child)

    def _checked(self, parts: Mapping[str, Any], key: str) -> Checked:
        place = self._place()
        if (known := self._remembered(key)) is not None:  # who had the child before us may have asked the same
            self._idle.put(place)
            return known
        child = self._ready(place)
        try:
            return child.ask({"parts": dict(parts)}, Checked.model_validate, seconds=self._timeout)
        finally:
            self._give_back(child)

    def load(self) -> PreflightLoad:
        """How busy the children are."""
        with self._lock:
            busy = self._places - self._idle.qsize()
            return PreflightLoad(children=self._places, busy=busy, asked=self._asked, waited_seconds=self._waited, refused=self._refused)

    def _place(self) -> _Child | None:
        begin, refused = time.monotonic(), False
        try:
            return self._idle.get(timeout=self._wait)
        except queue.Empty as error:
            refused = True
            raise PreflightBusy("Every checking child is busy.") from error
        finally:
            with self._lock:
                self._asked += 1
                self._refused += refused
                self._waited += time.monotonic() - begin

    def _checked_apart(self, parts: Mapping[str, Any]) -> Checked:
        """Custom code gets a child of its own, contained, that is thrown away."""
        if not self._apart.acquire(timeout=self._wait):
            raise PreflightBusy("Every contained child is busy.")
        try:
            child = _Child(self._contained(), start_seconds=self._start_seconds)
            try:
                return child.ask({"parts": dict(parts)}, Checked.model_validate, seconds=self._timeout)
            finally:
                child.kill()
        except NotContained as error:
            detail = f"Custom code cannot be contained here, so it is not run. {error}"
            suggestion = "Change that; or trust every user with this machine, and set TRAINYARD_UNCONTAINED_CODE=true."
            return Checked(errors=(Fault(pointer="/model/code", code="no_containment", detail=detail, suggestion=suggestion),))
        finally:
            self._apart.release()

    def _ready(self, child: _Child | None) -> _Child:
        """A live child in place of none or of a dead one; the place is kept whatever happens."""
        if child is not None and child.alive:
            return child
        if child is not None:
            child.kill()
        try:
            return _Child(start_child(self._memory_bytes), start_seconds=self._start_seconds)
        except _Gone as gone:
            self._idle.put(None)
            raise PreflightBusy(f"The checking child {gone} at its start.") from gone

    def _give_back(self, child: _Child) -> None:
        self._idle.put(child if child.alive else None)


def start_child(memory_bytes: int) -> subprocess.Popen[bytes]:
    """A checking child in this process's own surroundings."""
    # -c instead of -m: a module that is also imported by others must not run twice under two names
    command = [sys.executable, "-c", f"import {CHILD_MODULE} as child; child.main()", str(memory_bytes)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


class NotContained(Exception):
    """Code cannot be contained on this machine; the text says why."""


def contained_child(*, trusts_code: bool) -> subprocess.Popen[bytes]:
    """A checking child for custom code: contained, or as any other where the operator trusts it. Raises NotContained."""
    if trusts_code:
        return start_child(MEMORY_BYTES)
    reason = bubblewrap.unavailable()
    if reason is not None:
        raise NotContained(reason)
    pipe = subprocess.PIPE
    # what it prints goes nowhere: this process's own output is a log that people read, or their terminal
    return bubblewrap.start("check", limits=bubblewrap.Limits(), stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)


class _Gone(Exception):
    """The child died or did not answer in time."""


class _Child:
    def __init__(self, process: subprocess.Popen[bytes], *, start_seconds: float) -> None:
        self._process = process
        self._answers = Answers(process)
        try:
            self._next(start_seconds)
        except _Gone:
            self.kill()
            raise

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, question: Mapping[str, Any], read: Callable[[Any], T], *, seconds: float) -> T:
        """The answer to a line, as `read` takes it. Raises _Gone, and the child is no more."""
        assert self._process.stdin is not None  # noqa: S101  # Popen was given PIPE
        try:
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
            return read(json.loads(self._next(seconds))["answer"])
        except BrokenPipeError as error:
            self.kill()
            raise _Gone("ended the checking process") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:  # custom code may write to the pipe what it likes
            self.kill()
            raise _Gone("gave no verdict") from error
        except _Gone:
            self.kill()
            raise

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _next(self, seconds: float) -> bytes:
        try:
            line = self._answers.next(seconds)
        except TimeoutError as error:
            raise _Gone(str(error)) from error
        if not line:
            raise _Gone("ended the checking process (out of memory?)")
        return line
