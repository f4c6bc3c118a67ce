"""What the pieces stand on: GPUs as the worker finds them, a zygote whose trainers they use, and jobs with their answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load_file

from tests.checking import resolved
from worker.gpus import Gpu, visible
from worker.keeper import ZygoteKeeper
from worker.training.facts import CheckpointWritten, EpochDone, Fact, FirstStepDone, Succeeded, Warned, from_line
from worker.training.facts import Failed as FailedFact
from worker.zygote import Trainer

PATIENCE_SECONDS = 300
ROOT = Path(__file__).resolve().parent.parent.parent


class Failed(Exception):
    """A promise is not kept here; the text says which, and what was seen."""


@dataclass
class Trained:
    """What a job's trainer told, and left."""

    facts: list[Fact] = field(default_factory=list)
    started: float = 0.0

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """The model's. Raises Failed where there is none."""
        return load_file(self.folder / "model.safetensors")

    @property
    def folder(self) -> Path:
        """The artifacts. Raises Failed."""
        end = self.facts[-1] if self.facts else None
        if not isinstance(end, Succeeded):
            raise Failed(f"a job did not succeed: {[each for each in self.facts if isinstance(each, FailedFact)] or end}")
        return Path(end.directory)

    @property
    def rows(self) -> list[EpochDone]:
        """Its epochs."""
        return [fact for fact in self.facts if isinstance(fact, EpochDone)]

    @property
    def scores(self) -> dict[str, Any]:
        """Of the test split."""
        scores: dict[str, Any] = json.loads((self.folder / "evaluation" / "metrics.json").read_text())
        return scores

    @property
    def environment(self) -> dict[str, Any]:
        """As environment.json has it."""
        told: dict[str, Any] = json.loads((self.folder / "environment.json").read_text())
        return told

    @property
    def warned(self) -> list[str]:
        """What was warned of."""
        return [fact.code for fact in self.facts if isinstance(fact, Warned)]

    @property
    def first_step_ms(self) -> float:
        """From the order to the first optimizer step."""
        return 1000 * (next(fact.at for fact in self.facts if isinstance(fact, FirstStepDone)) - self.started)

    def midway(self, per_epoch: int) -> dict[str, Any]:
        """A checkpoint within an epoch, to go on from. Raises Failed."""
        written = [fact for fact in self.facts if isinstance(fact, CheckpointWritten) and fact.step % per_epoch]
        if not written:
            raise Failed("no checkpoint was written within an epoch")
        return {"directory": written[-1].directory, "epoch": written[-1].epoch, "step": written[-1].step}


def until_idle(pid: int) -> None:
    """Until a process has used no processor for a second: a trainer that warms up says nowhere that it is warm."""
    deadline, pause, spent = time.monotonic() + PATIENCE_SECONDS, threading.Event(), -1
    while (now := _ticks(pid)) != spent:
        if time.monotonic() > deadline:
            raise Failed(f"process {pid} is never idle")
        spent = now
        pause.wait(1)


def _ticks(pid: int) -> int:
    """Of processor time, proc(5)."""
    utime, stime = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return int(utime) + int(stime)


class Ground:
    """A machine under test, for as long as it is entered."""

    def __init__(self, folder: Path, *, rehearsed: bool) -> None:
        self.folder, self.rehearsed = folder, rehearsed
        self._kept = ExitStack()
        self._jobs = 0

    def __enter__(self) -> Self:
        self.gpus: Sequence[Gpu] = visible(os.environ) or ()
        if not self.gpus:
            raise SystemExit("nvidia-smi shows no GPU here; --cpu-rehearsal runs without one.")
        self.zygote_log = self.folder / "zygote.log"
        self.keeper = ZygoteKeeper(log_path=self.zygote_log, gpus=[gpu.id for gpu in self.gpus], device="cpu" if self.rehearsed else "cuda")
        self._kept.callback(self.keeper.close)
        return self

    def __exit__(self, *_: object) -> None:
        self._kept.close()

    @property
    def about(self) -> str:
        """The machine, in words."""
        names = ", ".join(f"{sum(gpu.name == name for gpu in self.gpus)} x {name}" for name in dict.fromkeys(gpu.name for gpu in self.gpus))
        return f"{'a REHEARSAL on the CPU for ' if self.rehearsed else ''}{names}; torch {torch.__version__}, CUDA {torch.version.cuda}"

    def train(self, body: Mapping[str, Any], *, gpus: int = 1, resume: dict[str, Any] | None = None) -> Trained:
        """A job on the first so many GPUs, to its end."""
        return self.collect(self.begin(body, [gpu.id for gpu in self.gpus[:gpus]], resume=resume))

    def begin(self, body: Mapping[str, Any], ids: Sequence[str], *, resume: dict[str, Any] | None = None) -> tuple[Trainer, Trained]:
        """A job on these GPUs, under way."""
        self._jobs += 1
        folder = self.folder / f"job-{self._jobs}"
        folder.mkdir()
        resources = {"threads": 1, "device": "gpu", "gpus": len(ids)}
        spec = resolved({**body, "resources": resources}).model_dump(mode="json")
        trainer, taken = self.keeper.spawn(ids), Trained(started=time.time())
        cache = {"folder": str(self.folder / "cache"), "limit_bytes": 2**32}
        order = {
            "job_id": folder.name,
            "spec": spec,
            "directory": str(folder),
            "datasets_dir": str(folder),
            "cache": cache,
            "resume": resume,
        }
        trainer.send({**order, "gpus": list(ids)})
        return trainer, taken

    def collect(self, begun: tuple[Trainer, Trained]) -> Trained:
        """What it tells, to its end; one that says nothing for too long is ended."""
        trainer, taken = begun
        watch = threading.Timer(PATIENCE_SECONDS, trainer.kill)
        watch.start()
        for line in iter(trainer.facts.readline, b""):
            taken.facts.append(from_line(line))
        watch.cancel()
        trainer.kill()
        trainer.wait(10)
        trainer.close()
        self.keeper.refill()
        return taken

    def run_alone(self, body: Mapping[str, Any], *, address_space: int | None = None) -> dict[str, Any]:
        """A job as `trainyard run` runs it, under a supervisor: the job at its end. `address_space` bytes are all that its processes may have."""
        self._jobs += 1
        output = self.folder / f"alone-{self._jobs}"
        order = json.dumps({"spec": body, "output": str(output), "device": "gpu"}) + "\n"
        limit = f"ulimit -S -v {address_space // 1024}; " if address_space else ""
        command = ["bash", "-c", f'{limit}exec "$0" -m worker.alone', sys.executable]
        environment = {**os.environ, "TRAINYARD_WORK_DIR": str(self.folder / "work"), "TRAINYARD_THREADS": "1"}
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
        watch = threading.Timer(PATIENCE_SECONDS, process.kill)
        watch.start()
        assert process.stdin is not None and process.stdout is not None  # noqa: PT018  # asked for above
        process.stdin.write(order)
        process.stdin.flush()
        said = [json.loads(line) for line in process.stdout]
        watch.cancel()
        process.stdin.close()
        process.wait(10)
        ended: dict[str, Any] | None = next((each["ended"] for each in said if "ended" in each), None)
        if ended is None:
            raise Failed(f"trainyard run came to no end: {said[-1:]}")
        return ended
