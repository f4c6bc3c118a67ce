"""A process that has imported torch and never run an operator, from which each attempt's trainer is forked in milliseconds.

The client side (`Zygote`, `Trainer`) imports no torch. One Unix socket joins the two: a request carries the trainer's two pipe ends, the
answers are JSON lines with the pid, and later the exit status. The zygote dies with its parent's end of the socket.
"""

from __future__ import annotations

import gc
import json
import os
import queue
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from service.killpoints import KILL_AT, KILL_ONCE, arm
from worker.dying import die_with_parent
from worker.training.rehearsal import REHEARSAL

START_SECONDS = 120
SPAWN_SECONDS = 30
LONGEST_TMPDIR = 64
_KEPT = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "VIRTUAL_ENV",
    "PYTHONPATH",
    KILL_AT,
    KILL_ONCE,
    REHEARSAL,
)
_ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(32 * 2**20), "MALLOC_TRIM_THRESHOLD_": str(256 * 2**20), "MALLOC_TOP_PAD_": str(64 * 2**20)}
"""glibc keeps what a step gives back: else each step of a small net gets its tensors as new pages, a fault each (mallopt(3); measured: 59 to 32 a step)."""
_UNTOUCHED = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
"""Whether there is a GPU is asked of the driver's library, not of CUDA, which a process must not have set up when it forks (torch's "CUDA semantics")."""
_KEPT_PREFIXES = ("MALLOC_", "GOMP_", "OMP_", "MKL_", "ONEDNN_", "DNNL_", "ATEN_", "TORCH")


class ZygoteGone(Exception):
    """The zygote died or does not answer; start another."""


class Trainer:
    """One forked trainer, seen from its supervisor."""

    def __init__(self, pid: int, commands: BinaryIO, facts: BinaryIO) -> None:
        self.pid, self.facts = pid, facts
        self._commands = commands
        self._status: queue.Queue[int] = queue.Queue(maxsize=1)

    def send(self, command: dict[str, Any]) -> None:
        """One command line; a trainer that is gone ignores it."""
        with suppress(BrokenPipeError, ValueError):
            self._commands.write(json.dumps(command).encode() + b"\n")
            self._commands.flush()

    @property
    def lives(self) -> bool:
        """Whether nobody has told of its end."""
        return self._status.empty()

    def ended(self, status: int) -> None:
        """Told by the zygote: the exit status, negative for a signal."""
        self._status.put(status)

    def wait(self, timeout: float) -> int | None:
        """The exit status, or None when the time is up."""
        try:
            status = self._status.get(timeout=timeout)
        except queue.Empty:
            return None
        self._status.put(status)
        return status

    def kill(self) -> None:
        """Kill it and every process that it started."""
        with suppress(ProcessLookupError):
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:  # forked this moment: it leads no group yet
                if self.lives:
                    os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Let the pipes go; a trainer still alive ends by that."""
        with suppress(BrokenPipeError):
            self._commands.close()
        self.facts.close()


class Zygote:
    """The warm process, seen from the worker. Thread-safe: each call of `spawn` forks one trainer."""

    def __init__(self, process: subprocess.Popen[bytes], channel: socket.socket) -> None:
        self._process, self._channel = process, channel
        self._lock = threading.Lock()
        self._spawned: queue.Queue[int | None] = queue.Queue()
        self._trainers: dict[int, Trainer] = {}
        self._early: dict[int, int] = {}
        self._reader = threading.Thread(target=self._read, name="zygote", daemon=True)
        self._reader.start()

    @classmethod
    def start(cls, *, log_path: Path | None = None) -> Zygote:
        """Start it and wait until it is warm. Raises ZygoteGone."""
        ours, theirs = socket.socketpair()
        environment = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
        environment = _ALLOCATOR | _UNTOUCHED | environment | _short_tmpdir(os.environ)
        command = [sys.executable, "-c", "import worker.zygote as zygote; zygote.main()", str(theirs.fileno())]
        with theirs, open(log_path or os.devnull, "ab") as log:  # noqa: PTH123  # either a path or the null device
            process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )
        zygote = cls(process, ours)
        try:
            if zygote._spawned.get(timeout=START_SECONDS) != 0:
                raise ZygoteGone("The zygote died at its start; the worker's log has its last words.")
        except queue.Empty as error:
            zygote.close()
            raise ZygoteGone(f"The zygote was not warm after {START_SECONDS} s.") from error
        return zygote

    @property
    def alive(self) -> bool:
        """Whether it can still fork."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def spawn(self) -> Trainer:
        """Fork a trainer. Raises ZygoteGone."""
        command_read, command_write = os.pipe()
        fact_read, fact_write = os.pipe()
        with self._lock:
            try:
                socket.send_fds(self._channel, [b"spawn\n"], [command_read, fact_write])
                pid = self._spawned.get(timeout=SPAWN_SECONDS)
            except (OSError, queue.Empty) as error:
                pid = None
                cause: Exception | None = error
            else:
                cause = None
            finally:
                os.close(command_read)
                os.close(fact_write)
            if pid is None:
                os.close(command_write)
                os.close(fact_read)
                raise ZygoteGone("The zygote does not fork any more.") from cause
            trainer = Trainer(pid, os.fdopen(command_write, "wb"), os.fdopen(fact_read, "rb"))
            self._trainers[pid] = trainer
            if pid in self._early:
                trainer.ended(self._early.pop(pid))
        return trainer

    def close(self) -> None:
        """End it, and with it every trainer."""
        with suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)
        self._channel.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self) -> None:
        with suppress(OSError, ValueError):
            for line in self._channel.makefile("rb"):
                message = json.loads(line)
                if "spawned" in message:
                    self._spawned.put(message["spawned"])
                    continue
                trainer = self._trainers.pop(message["ended"], None)
                if trainer is None:
                    self._early[message["ended"]] = message["status"]
                else:
                    trainer.ended(message["status"])
        self._spawned.put(None)
        for pid, trainer in list(self._trainers.items()):
            trainer.kill()
            trainer.ended(-signal.SIGKILL)
            del self._trainers[pid]


def _short_tmpdir(environment: Mapping[str, str]) -> dict[str, str]:
    """The folder for temporary files, unless it is so long that a socket in it could have no address: a DataLoader's processes would hang.

    An AF_UNIX path has 107 bytes (unix(7)); torch's sockets need some 40 of them below the folder.
    """
    named = environment.get("TMPDIR", "")
    return {"TMPDIR": named} if named and len(os.fsencode(named)) <= LONGEST_TMPDIR else {}


def main() -> None:
    """The zygote itself: import, say so, fork on request, report what ended."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches the group; the worker decides

    import torch._dynamo  # making the first optimizer would import it: seconds

    with suppress(ImportError):  # the first step of one would, from torch 2.13 on
        import torch.profiler._cupti_monitor  # noqa: F401

    import worker.trainer
    from worker.training.plots import preload

    preload()
    arm(os.environ)
    gc.freeze()  # what is here stays; a collection in a child would copy its pages
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    say(channel, {"spawned": 0})
    while True:
        ready, _, _ = select.select([channel.fileno(), wake_read], [], [])
        if wake_read in ready:
            os.read(wake_read, 4096)
            _reap(channel)
        if channel.fileno() in ready:
            message, descriptors, _, _ = socket.recv_fds(channel, 64, 2)
            if not message:
                return
            command, facts = descriptors
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for descriptor in (channel.fileno(), wake_read, wake_write):
                    os.close(descriptor)
                _become_trainer(worker.trainer.serve, command, facts)
            os.close(command)
            os.close(facts)
            say(channel, {"spawned": pid})


def say(channel: socket.socket, message: dict[str, int]) -> None:
    """One JSON line to the worker."""
    channel.sendall(json.dumps(message).encode() + b"\n")


def _reap(channel: socket.socket) -> None:
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            say(channel, {"ended": pid, "status": os.waitstatus_to_exitcode(status)})


def _become_trainer(serve: Any, command: int, facts: int) -> None:
    code = 1
    try:
        os.setsid()
        die_with_parent()
        # the command pipe is not closed: a thread reads it, and closing would wait for that thread
        with os.fdopen(facts, "wb") as out:
            serve(os.fdopen(command, "rb"), out)
        code = 0
    finally:
        os._exit(code)  # never back into the zygote's loop
