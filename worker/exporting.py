"""Exports, one after the other, each in a process of its own: none that fails, hangs or takes all memory fails a finished training."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from service.spec.export import Export, Exported
from worker.dying import die_with_parent, let_go_of_all_but
from worker.training.exports import NotExported, make, reason
from worker.training.facts import Exporting, Fact, LogLine, Warned
from worker.training.loop import Run

EXPORT_SECONDS = 600
"""One export may take so long."""
STOP_SECONDS = 15
"""So long may exports go on once the worker has to stop: a job that is out of time has thirty seconds."""
POLL_SECONDS = 1.0


@dataclass(frozen=True)
class _Made:
    """What the process says of the file that it has written."""

    difference: float
    samples: int
    opset: int | None


def export_each(
    run: Run, artifacts: Path, *, tell: Callable[[Fact], None], stopping: Callable[[], bool], make: Callable[..., Any] = make
) -> dict[str, Exported]:
    """Put what the spec asks for among the artifacts, and say how far each file is from the model; what is not as it should be is left out.

    Frees what only training needs, and leaves the model on the CPU. Tells a warning for each export that is left out.
    """
    found: dict[str, Exported] = {}
    if not run.spec.export:
        return found
    _free(run)
    aside = artifacts.with_name("exports")
    aside.mkdir()
    patience = _Patience(stopping)
    for at, export in enumerate(run.spec.export):
        path = aside / export.file
        try:
            made = _in_a_process(run, export, path, make=make, patience=patience, tell=tell)
            result = _judged(export, made)
            path.replace(artifacts / export.file)
        except NotExported as refusal:
            tell(Warned(code="not_exported", pointer=f"/export/{at}", detail=f"{export.file} is not made: {refusal}"))
        except _Differs as difference:
            tell(Warned(code="export_differs", pointer=f"/export/{at}", detail=str(difference)))
        else:
            found[export.file] = result
            told = f"differs by {result.max_abs_difference:.3g} at most on {result.samples} test samples"
            tell(LogLine(text=f"{export.file} {told} (tolerance {result.tolerance:g})"))
    return found


class _Patience:
    """Each export has its own time; once the worker has to stop, all that is left share a short one."""

    def __init__(self, stopping: Callable[[], bool]) -> None:
        self._stopping, self._until = stopping, math.inf

    def check(self, began: float) -> None:
        """Of an export that began then. Raises NotExported when its time is up."""
        now = time.monotonic()
        if self._until == math.inf and self._stopping():
            self._until = now + STOP_SECONDS
        if now >= self._until:
            raise NotExported("the worker had to stop before.")
        if now - began >= EXPORT_SECONDS:
            raise NotExported(f"it took more than {EXPORT_SECONDS} seconds.")


class _Differs(Exception):
    """The file is there, and says something else."""


def _judged(export: Export, made: _Made) -> Exported:
    """Raises _Differs where it is too far from the model."""
    if not made.difference <= export.tolerance:
        raise _Differs(
            f"{export.file} differs from the trained model by {made.difference:.3g} on {made.samples} test samples, "
            f"which is more than its tolerance {export.tolerance:g}: it is not published."
        )
    return Exported(
        max_abs_difference=made.difference,
        tolerance=export.tolerance,
        samples=made.samples,
        preprocessing=export.preprocessing,
        opset=made.opset,
    )


def _free(run: Run) -> None:
    """What only training needs: the optimizer's state, gradients, a copy of the best weights."""
    run.optimizer.zero_grad(set_to_none=True)
    run.optimizer.state.clear()
    run.position.best_weights = None
    run.judged.cpu()


def _in_a_process(
    run: Run, export: Export, path: Path, *, make: Callable[..., Any], patience: _Patience, tell: Callable[[Fact], None]
) -> _Made:
    """What a forked process makes of it. Raises NotExported where that fails, dies, or does not come to an end."""
    began = time.monotonic()
    patience.check(began)
    fork = get_context("fork")
    channel, theirs = fork.Pipe(duplex=False)
    process = fork.Process(target=_export, args=(theirs, run, export, path, make), name=export.file, daemon=True)
    process.start()
    theirs.close()
    try:
        while not channel.poll(POLL_SECONDS):
            patience.check(began)
            tell(Exporting(file=export.file))
        answer = channel.recv()
    except EOFError:
        process.join()
        raise NotExported(f"its process ended without a word (exit status {process.exitcode}).") from None
    finally:
        process.kill()
        process.join()
        channel.close()
    if isinstance(answer, _Made):
        return answer
    raise NotExported(answer)


def _export(channel: Connection, run: Run, export: Export, path: Path, make: Callable[..., Any]) -> None:
    """The process: one file, one answer."""
    let_go_of_all_but(channel.fileno())
    die_with_parent()
    sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  # exporters print; open until this process ends
    with suppress(OSError):  # where memory runs out, this goes before the training's own process
        Path("/proc/self/oom_score_adj").write_text("1000")
    torch.set_num_threads(1)  # a pool of threads that was forked would never answer
    if run.device.type == "cuda":
        torch.cuda.is_available = lambda: False  # CUDA does not outlive a fork; exporters would save its random state
    try:
        channel.send(_Made(*make(run, export, path)))
    except NotExported as error:
        channel.send(str(error))
    except OSError as error:  # a full disk, above all
        channel.send(reason(error))
