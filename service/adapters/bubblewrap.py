"""Starts Python that nobody trusts inside bubblewrap: no network, no credential, no file but those named, and limits that the kernel holds.

What happens inside is `worker.contained`'s. The files that come out are the user's: read none through a link, and unpickle none.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import service
from service.adapters import syscalls

GIB = 1024**3
NOBODY = 65534
"""Who runs contained code where the worker is root: root could not be bound, RLIMIT_NPROC does not count it."""
TRIAL_SECONDS = 30
PROFILE = "service/containers/seccomp.json"
"""Docker's containment of the whole container, made so that this one fits into it. Lies beside this package's code, in the image too."""
SCRATCH = Path("/tmp")  # noqa: S108  # a fresh one, in memory, of this containment alone

_SYSTEM = ("/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/alternatives")
_PROCESSORS = ("/sys/devices/system/cpu", "/sys/devices/system/node")
"""torch chooses kernels and threads by these; without them the same job could round differently inside and outside."""
_MACHINE = ("/proc/cpuinfo", "/proc/meminfo")
_FIRST_TO_GO = ("sh", "-c", '{ echo 1000 >/proc/self/oom_score_adj; } 2>/dev/null; exec "$@"', "sh")
"""Where memory runs out the kernel ends contained code before its worker, and before others' jobs: proc(5), oom_score_adj."""
_THREADS = ("OMP_", "MKL_", "ONEDNN_", "DNNL_", "ATEN_", "TORCH")

Stream = int | IO[bytes] | None


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What contained code may use. Memory, files and seconds are counted per process, processes (threads count) for all of it together."""

    memory_bytes: int = 8 * GIB
    processes: int = 256
    file_bytes: int = 2 * GIB
    open_files: int = 1024
    cpu_seconds: int | None = None
    scratch_bytes: int = GIB // 4
    shared_bytes: int = GIB
    """The shared memory through which a DataLoader's workers hand over their batches."""

    def to_json(self) -> str:
        """One line for the command line."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class _Way:
    """What this machine lets bubblewrap do besides the least that is needed."""

    fresh_proc: bool
    """A /proc of the containment's own; in most containers the kernel refuses it, and there is none then."""
    no_nesting: bool
    """No user namespaces inside; needs a writable /proc/sys outside."""


_WAYS = tuple(_Way(fresh_proc=proc, no_nesting=nesting) for proc in (True, False) for nesting in (True, False))


def unavailable() -> str | None:
    """Why contained code cannot be run here, and what would change that, in a sentence or two. None where it can. Tried once per process."""
    found = _way()
    return found if isinstance(found, str) else None


def start(
    entry: str,
    *,
    limits: Limits,
    readable: Sequence[Path] = (),
    writable: Path | None = None,
    pass_fds: Sequence[int] = (),
    arguments: Sequence[str] = (),
    stdin: Stream = subprocess.DEVNULL,
    stdout: Stream = None,
    stderr: Stream = None,
) -> subprocess.Popen[bytes]:
    """`worker.contained`'s entry of that name, contained and limited; otherwise as `start_command`."""
    program = "import worker.contained as contained; contained.main()"
    # -P: the working folder is the user's, and a `worker.py` in it must not come first
    command = [sys.executable, "-P", "-c", program, entry, limits.to_json(), *arguments]
    return start_command(
        command, limits=limits, readable=readable, writable=writable, pass_fds=pass_fds, stdin=stdin, stdout=stdout, stderr=stderr
    )


def start_command(
    command: Sequence[str],
    *,
    limits: Limits,
    readable: Sequence[Path] = (),
    writable: Path | None = None,
    pass_fds: Sequence[int] = (),
    stdin: Stream = subprocess.DEVNULL,
    stdout: Stream = None,
    stderr: Stream = None,
) -> subprocess.Popen[bytes]:
    """A command that sees Python, `service`, `worker` and `readable`, and writes in `writable` (its working folder) and in memory alone.

    It has to call `worker.contained.confine` first: the limits on processes, memory and files are set from inside. End it with `kill`.
    The kernel ends it with the *thread* that called this, so that thread has to stay as long as it does.
    A worker that is root runs it as `NOBODY`, who is given `writable` and to whom `readable` has to be readable.
    Its exit status is the command's, or 128 and a signal's number. Raises RuntimeError where `unavailable` says why.
    """
    way = _way()
    if isinstance(way, str):
        raise RuntimeError(way)  # noqa: TRY004  # a machine, not a type
    if writable is not None and os.geteuid() == 0:
        _give(writable, NOBODY)
    wrapped = _wrapped(command, way=way, limits=limits, readable=readable, writable=writable)
    return subprocess.Popen(
        [*_FIRST_TO_GO, *wrapped],
        pass_fds=pass_fds,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=environment(os.environ),
        start_new_session=True,  # Ctrl-C in a terminal is the worker's to answer, and `kill` has one group to end
    )


def kill(process: subprocess.Popen[bytes]) -> None:
    """End it and everything that it started, and wait for that. Whoever is ended already stays so."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@functools.cache
def _way() -> _Way | str:
    """The strictest way that works on this machine, or why none does."""
    if (unknown := syscalls.unknown_machine()) is not None:
        return unknown
    if shutil.which("bwrap") is None:
        return "Bubblewrap is not installed: install the package bubblewrap."
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "A worker that is root needs setpriv to contain code: install the package util-linux, or run the worker as another user."
    said = ""
    for way in _WAYS:
        refusal = _tried(way)
        if refusal is None:
            return way
        said = said or refusal
    return f"Bubblewrap is installed, but may not make namespaces here ({said}). {_cure(_is_filtered())}"


def _is_filtered() -> bool:
    """Whether somebody set a seccomp filter for this process, as container engines do."""
    with suppress(OSError):
        return "Seccomp:\t2" in Path("/proc/self/status").read_text()
    return False


def _cure(is_filtered: bool) -> str:
    if is_filtered:
        return (
            f"This is a container whose seccomp profile forbids them. Start it under the profile {PROFILE}, as docker-compose.yml does: docker"
            f" run --security-opt seccomp={PROFILE}, security_opt in Compose, securityContext.seccompProfile in Kubernetes; where the machine has"
            " AppArmor, --security-opt apparmor=unconfined as well; and as another user than root."
        )
    return (
        "On a machine, allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1,"
        " kernel.apparmor_restrict_unprivileged_userns=0, user.max_user_namespaces above 0). In a container, run as another user than root,"
        f" under the seccomp profile {PROFILE} and, where the machine has AppArmor, --security-opt apparmor=unconfined."
    )


def _tried(way: _Way) -> str | None:
    """The last words of a Python that could not be started this way; None if it could."""
    command = _wrapped([sys.executable, "-I", "-S", "-c", ""], way=way, limits=Limits(), readable=(), writable=None)
    try:
        trial = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TRIAL_SECONDS, env=environment({}), check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if trial.returncode == 0:
        return None
    lines = trial.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit status {trial.returncode}"


def _wrapped(command: Sequence[str], *, way: _Way, limits: Limits, readable: Sequence[Path], writable: Path | None) -> list[str]:
    binds = list(_binds(way, readable, writable))
    wrapped = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session"]
    wrapped += ["--unshare-user", "--disable-userns"] if way.no_nesting else []
    wrapped += ["--size", str(limits.scratch_bytes), "--tmpfs", str(SCRATCH)]
    wrapped += ["--dev", "/dev", "--size", str(limits.shared_bytes), "--tmpfs", "/dev/shm"]  # noqa: S108  # as above
    wrapped += ["--proc", "/proc"] if way.fresh_proc else []
    wrapped += _flags(binds)
    # what bubblewrap made to mount things on lies in memory, and nothing else limits how much is written there
    wrapped += ["--remount-ro", "/dev", "--remount-ro", "/"]
    wrapped += ["--chdir", str(_absolute(writable) if writable is not None else SCRATCH), "--", *command]
    return [*_as_nobody(binds), *wrapped] if os.geteuid() == 0 else wrapped


def _as_nobody(binds: Sequence[tuple[str, Path]]) -> list[str]:
    """What comes before bubblewrap where the worker is root: a view in which nobody reaches the same paths, and the step down to nobody.

    Only root enters /root or a folder of mode 0700, and only an unprivileged user's namespace counts its own processes. So root
    mounts, in an outer bubblewrap, and nobody makes the namespaces, in the inner one.
    """
    folders = dict.fromkeys(str(folder) for _, path in binds for folder in reversed(path.parents) if folder != Path("/"))
    # a process may not kill another user's because its parent died, but the first of a pid namespace takes all of it along
    outer = ["bwrap", "--unshare-pid", "--die-with-parent", "--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    for folder in folders:
        outer += ["--dir", folder]
    outer += ["--dir", str(SCRATCH), "--dev", "/dev", *_flags(binds)]
    # For the inner one alone, nothing else runs here: the kernel allows it a fresh /proc where a whole one is in sight, which
    # bubblewrap's is not, and it forbids namespaces inside by writing to /proc/sys.
    outer += ["--proc", "/proc", "--bind", "/proc/sys", "/proc/sys", "--bind", "/proc", "/machine/proc"]
    return [*outer, "--", "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs", "--"]


def _binds(way: _Way, readable: Sequence[Path], writable: Path | None) -> Iterator[tuple[str, Path]]:
    """What is mounted, outer folders before inner ones: `--ro-bind` or `--bind`, and the path, which is the same inside and outside."""
    packages = Path(service.__file__).parent
    wanted: list[str | Path] = [sys.prefix, sys.base_prefix, packages, packages.with_name("worker"), *_SYSTEM, *_PROCESSORS]
    wanted += [] if way.fresh_proc else _MACHINE
    there = {_absolute(path) for path in wanted if Path(path).exists()} | {_absolute(path) for path in readable}
    kinds = dict.fromkeys(there, "--ro-bind")
    if writable is not None:
        kinds[_absolute(writable)] = "--bind"
    for path in sorted(kinds, key=lambda path: len(path.parts)):
        yield kinds[path], path


def _flags(binds: Sequence[tuple[str, Path]]) -> list[str]:
    return [each for kind, path in binds for each in (kind, str(path), str(path))]


def _absolute(path: str | Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100  # not resolve(): what a link is called outside it is called inside


def environment(outside: Mapping[str, str]) -> dict[str, str]:
    """All that contained code finds, and no secret. Given to bubblewrap itself: `--clearenv` would leave the worker's own readable in /proc/1/environ."""
    return {name: value for name, value in outside.items() if name.startswith(_THREADS)} | {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": outside.get("LANG", "C.UTF-8"),
        "HOME": str(SCRATCH),
        "PYTHONPATH": str(Path(service.__file__).parent.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _give(folder: Path, user: int) -> None:
    """Change the owner of a folder and of what is in it, following no link."""
    os.chown(folder, user, user)
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(root, name), user, user, follow_symlinks=False)
