"""The first thing that runs inside a containment: limits on this process and its descendants, then one entry. Started by service.adapters.bubblewrap.

Nothing heavy is imported before the limits hold.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
from pathlib import Path

from service.adapters import syscalls
from service.adapters.bubblewrap import Limits

_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38


def main() -> None:
    """The command line is ENTRY, the limits as JSON, then what the entry needs."""
    entry, limits, *arguments = sys.argv[1:]
    confine(Limits(**json.loads(limits)))
    del sys.argv[1:]  # the entries read their own
    match entry, arguments:
        case "check", []:
            from worker.training import preflight

            preflight.main()
        case "predict", []:
            from worker import predicting

            predicting.main()
        case "inspect", [upload, folder]:
            from worker.dying import die_with_parent
            from worker.ingest import inspecting

            die_with_parent()
            sys.exit(inspecting.main(Path(upload), Path(folder)))
        case "train", [commands, facts]:
            _train(int(commands), int(facts))
        case _:
            sys.exit(f"No such entry: {entry} {arguments}. Known: check, predict, inspect UPLOAD FOLDER, train COMMANDS_FD FACTS_FD.")


def confine(limits: Limits) -> None:
    """Set every limit for good, and give up what could lift one, and most of what could be asked of the kernel."""
    for kind, most in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_NPROC, limits.processes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        if most is not None:
            resource.setrlimit(kind, (_within(kind, most),) * 2)
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_PR_SET_NO_NEW_PRIVS, 1), (_PR_SET_DUMPABLE, 0)):
        if libc.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
    if syscalls.unknown_machine() is None:  # elsewhere nothing of a user's is run, and data sets are looked at without it
        syscalls.load()


def _within(kind: int, most: int) -> int:
    """A hard limit that is lower already stays: raising it is not ours to do."""
    _, hard = resource.getrlimit(kind)
    return most if hard == resource.RLIM_INFINITY else min(most, hard)


def _train(commands: int, facts: int) -> None:
    from worker.trainer import serve

    # the command pipe is not closed: a thread reads it, and closing would wait for that thread
    with os.fdopen(facts, "wb") as out:
        serve(os.fdopen(commands, "rb"), out)
        out.flush()
    os._exit(0)  # the user's threads and exit hooks have no say in when it ends
