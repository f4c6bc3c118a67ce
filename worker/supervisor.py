"""One attempt, from the claim to the end: start a trainer, relay its facts, renew the lease, upload, finish. Computes nothing itself."""

from __future__ import annotations

import contextlib
import itertools
import queue
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from service.jobs.errors import ArtifactNotFound, Fenced, JobNotFound, PreflightBusy, StorageUnavailable, StoreUnavailable
from service.jobs.job import CheckpointPointer, Job, JobError
from service.jobs.ports import ArtifactStore, AttemptStore, Claim, FactLog, Flags, JobStore, Outcome, Preflight, Report
from service.jobs.state import JobState, Phase, Reason
from service.spec.checking import is_custom, needed, verdict
from service.spec.verdict import Verdict
from service.sweeping import json_lines
from worker.contained_trainer import WRITTEN_BYTES, ContainedTrainer, NotContained, links_in, written_bytes
from worker.datasets import DatasetMissing, DatasetShelf
from worker.oom import KillCount
from worker.remedies import ended_by, rollbacks
from worker.reports import Reporter, event
from worker.training.facts import CheckpointWritten, Fact, Failed, PhaseStarted, Stopped, Succeeded, from_line
from worker.uploads import StorageGivenUp, Uploader, fetch_checkpoint, fetch_weights
from worker.zygote import Trainer, ZygoteGone

FLAG_SECONDS = 1.0
EXIT_SECONDS = 10.0
SLOW = 3
"""Preparing and exporting may be silent for so many times as long as training and evaluating, which tell what they do."""
MAX_LINE = 16 * 1024**2


class Spawner(Protocol):
    """What makes trainers."""

    def spawn(self) -> Trainer:
        """A new trainer. Raises ZygoteGone."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Everything an attempt needs from its worker."""

    jobs: JobStore
    attempts: AttemptStore
    facts: FactLog
    artifacts: ArtifactStore
    preflight: Preflight
    threads: int
    trusts_code: bool
    shelf: DatasetShelf
    spawner: Spawner
    draining: threading.Event
    work_dir: Path
    stall_seconds: float
    storage_patience_seconds: float


class _Given(Exception):
    """The attempt ends with this outcome."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.kind)
        self.outcome = outcome


def supervise(claim: Claim, around: Surroundings) -> JobState | None:
    """Run one attempt to its end; the job's new state, or None where the attempt was fenced off (nothing was written then)."""
    folder = around.work_dir / "attempts" / f"{claim.job.id}-{claim.token}"
    folder.mkdir(parents=True)
    try:
        return _Attempt(claim, around, folder).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Attempt:
    """The state of one attempt while it runs. Every thread of it talks to the main one through `inbox`."""

    def __init__(self, claim: Claim, around: Surroundings, folder: Path) -> None:
        self.claim, self.around, self.folder = claim, around, folder
        self.inbox: queue.Queue[Fact | Flags | CheckpointPointer | Exception | None] = queue.Queue()
        self.over = threading.Event()
        self.reporter = Reporter(around.facts, claim)
        self.kills = KillCount()
        self.patience = SLOW * around.stall_seconds
        self.uploader = Uploader(around.artifacts, patience_seconds=around.storage_patience_seconds, abandon=self.over)
        self.uploads: queue.Queue[CheckpointWritten | None] = queue.Queue()
        self.threads: list[threading.Thread] = []

    def run(self) -> JobState | None:
        self._thread("lease", self._hold_lease)
        uploading = self._thread("uploads", self._upload_checkpoints)
        try:
            outcome = self._outcome(uploading)
            self.reporter.flush(force=True)
            return self._finish(outcome)
        except Fenced:
            return None
        finally:
            self.over.set()
            self.uploads.put(None)
            for thread in self.threads:
                thread.join()

    def _outcome(self, uploading: threading.Thread) -> Outcome:
        try:
            with self._trainer() as trainer:
                ended = self._relay(trainer)
            # every checkpoint that was written is committed before the attempt ends
            self.uploads.put(None)
            uploading.join()
            self._raise_what_arrived()
            if isinstance(ended, Failed):
                return self._ended_by(ended)
            if isinstance(ended, Stopped):
                return Outcome(kind="give_back", reason=Reason.DRAINED, counts=False)
            self._take_home(Path(ended.directory))
            return Outcome(kind="succeeded")
        except _Given as given:
            return given.outcome
        except DatasetMissing as error:
            return _failed(Reason.BAD_DATA, str(error))
        except (StorageUnavailable, StorageGivenUp) as error:
            return Outcome(kind="give_back", reason=Reason.STORAGE, error=JobError(code=Reason.STORAGE, message=str(error)))
        except ZygoteGone as error:
            return Outcome(kind="give_back", reason=Reason.TRAINER_LOST, error=JobError(code=Reason.TRAINER_LOST, message=str(error)))

    # --- before the first step

    @contextlib.contextmanager
    def _trainer(self) -> Iterator[Trainer]:
        """A trainer with its job in hand; killed with everything that it started when the block is left."""
        self.spec = spec = self._checked_spec()
        datasets_dir = self.around.shelf.find(spec["dataset"]["type"])
        initial = self._initial_weights(spec["model"])
        resume, fault = fetch_checkpoint(self.around.artifacts, self.claim.job, self.folder / "resume")
        if fault:
            self.reporter.say("warning", fault)
        trainer = self._started(spec, datasets_dir)
        try:
            job = {
                "job_id": self.claim.job.id,
                "spec": spec,
                "directory": str(self.folder),
                "datasets_dir": str(datasets_dir),
                "initial": str(initial) if initial else None,
                "resume": resume,
                "inexact": self.claim.job.exactness.reasons,
                "rollbacks": rollbacks(self.claim.job),
            }
            trainer.send(job)
            self._thread("facts", lambda: self._read_facts(trainer))
            yield trainer
        finally:
            trainer.kill()
            trainer.wait(EXIT_SECONDS)
            trainer.close()

    def _initial_weights(self, model: dict[str, Any]) -> Path | None:
        """The file of weights that the model starts from, where it does not start afresh. Raises DatasetMissing, StorageUnavailable."""
        if model["type"] == "torchvision" and model["weights"]:
            return self.around.shelf.find_weights(model["name"], model["weights"])
        if model["type"] != "Job":
            return None
        target = self.folder / "initial.safetensors"
        try:
            earlier = self.around.jobs.find(self.claim.job.project, model["job_id"])
            fetch_weights(self.around.artifacts, earlier, model["checkpoint"], target)
        except (JobNotFound, ArtifactNotFound) as error:
            raise _Given(_failed(Reason.BAD_DATA, f"The weights of job {model['job_id']} are gone: {error}")) from error
        return target

    def _started(self, spec: dict[str, Any], datasets_dir: Path) -> Trainer:
        """A warm trainer; for custom code a contained one, unless the operator trusts it."""
        if not is_custom(spec) or self.around.trusts_code:
            return self.around.spawner.spawn()
        try:
            trainer = ContainedTrainer.start(self.folder, datasets_dir)
        except NotContained as error:
            raise _Given(_failed(Reason.USER_CODE, str(error))) from error
        self._thread("written", self._watch_written)
        return trainer

    def _watch_written(self) -> None:
        while not self.over.wait(FLAG_SECONDS):
            if written_bytes(self.folder) > WRITTEN_BYTES:
                detail = f"The job's code wrote more than {WRITTEN_BYTES // 1024**3} GiB."
                self.inbox.put(_Given(_failed(Reason.USER_CODE, detail)))
                return

    def _checked_spec(self) -> dict[str, Any]:
        """The resolved spec; where there was no torch beside the API, the check is this attempt's first phase."""
        job = self.claim.job
        spec = job.resolved_spec
        if spec is None:
            found = verdict(job.spec, self.around.preflight.check(needed(job.spec)), threads=self.around.threads)
            if found.resolved_spec is None:
                faults = "; ".join(f"{fault.pointer}: {fault.detail}" for fault in found.errors)
                raise _Given(_failed(Reason.BAD_SPEC, faults, hint="Correct the spec and submit again."))
            spec = found.resolved_spec
            self.reporter.put(Report(resolved_spec=spec, warnings=(*job.warnings, *found.warnings)))
        spec["resources"]["device"] = job.device
        return spec

    # --- while it runs

    def _relay(self, trainer: Trainer) -> Succeeded | Stopped | Failed:
        """Pass facts on until the trainer is done, or rolls back. Raises _Given for every other end."""
        job = self.claim.job
        deadline = time.monotonic() + job.spec.get("resources", {}).get("timeout_seconds", 86_400) - _seconds_run(job)
        heard = time.monotonic()
        while True:
            if self.around.draining.is_set():
                trainer.send({"command": "stop"})  # said again is harmless
            try:
                item = self.inbox.get(timeout=0.2)
            except queue.Empty:
                self._check_time(deadline=deadline, silent_until=heard + self.patience)
                self.reporter.flush()
                continue
            heard = time.monotonic()
            match item:
                case Flags() | CheckpointPointer() | Exception():
                    self._heed(item)
                case Succeeded() | Stopped():
                    return item
                case Failed(skip_batches=[_, *_]):
                    return item  # what is left out lies behind its last checkpoint: that has to be committed first
                case Failed():
                    raise _Given(self._ended_by(item))
                case CheckpointWritten():
                    self.uploads.put(item)
                case None:
                    status = trainer.wait(EXIT_SECONDS)
                    word = f"the trainer process ended without a word (exit status {status})"
                    self.reporter.say("warning", word)
                    raise _Given(self._ended_by(Failed(code=Reason.TRAINER_LOST, message=word)))
                case fact:
                    self._pass_on(fact)

    def _pass_on(self, fact: Fact) -> None:
        if isinstance(fact, PhaseStarted):
            self.patience = self.around.stall_seconds * (SLOW if fact.phase in ("preparing", "exporting") else 1)
        self.reporter.tell(fact)
        self.reporter.flush()

    def _check_time(self, *, deadline: float, silent_until: float) -> None:
        now = time.monotonic()
        if now > deadline:
            raise _Given(_failed(Reason.TIMED_OUT, "The job ran for longer than resources.timeout_seconds."))
        if now > silent_until:
            raise _Given(Outcome(kind="give_back", reason=Reason.STALLED))

    def _heed(self, word: Flags | CheckpointPointer | Exception) -> None:
        """What the attempt's own threads say: the user's flags, a commit, or why they had to stop."""
        match word:
            case Flags(cancel=True):
                raise _Given(Outcome(kind="cancelled"))
            case CheckpointPointer():
                told = event("checkpoint", f"checkpoint at step {word.step}", word.model_dump())
                self.reporter.put(Report(events=[told]))
            case Exception():
                raise word

    def _raise_what_arrived(self) -> None:
        while not self.inbox.empty():
            item = self.inbox.get()
            if isinstance(item, Flags | CheckpointPointer | Exception):
                self._heed(item)

    def _read_facts(self, trainer: Trainer) -> None:
        # with custom code inside, a line may be anything, and endless
        for line in iter(lambda: trainer.facts.readline(MAX_LINE), b""):
            try:
                self.inbox.put(from_line(line))
            except ValueError as error:
                self.inbox.put(_Given(_failed(Reason.USER_CODE, f"The trainer said what is {error}.")))
                return
        self.inbox.put(None)

    def _hold_lease(self) -> None:
        """Renew and read the flags every second, whatever the trainer does; training goes on while the store is away."""
        while not self.over.wait(FLAG_SECONDS):
            try:
                flags = self.around.attempts.renew(self.claim)
            except Fenced as error:
                self.inbox.put(error)
                return
            except StoreUnavailable:
                continue
            if flags.cancel:
                self.inbox.put(flags)

    def _upload_checkpoints(self) -> None:
        committed: deque[CheckpointPointer] = deque()
        if self.claim.job.checkpoint:
            committed.append(self.claim.job.checkpoint)
        keep = max(1, (self.claim.job.resolved_spec or {}).get("checkpoint", {}).get("keep_last", 2))
        while (written := self.uploads.get()) is not None:
            try:
                pointer = self.uploader.checkpoint(self.claim, written)
                self._commit(pointer)
            except (Fenced, StorageGivenUp) as error:
                self.inbox.put(error)
                return
            self.inbox.put(pointer)
            committed.append(pointer)
            while len(committed) > keep:
                self.uploader.drop([committed.popleft()])

    def _commit(self, pointer: CheckpointPointer) -> None:
        while True:
            try:
                return self.around.attempts.checkpoint(self.claim, pointer)
            except StoreUnavailable as error:
                if self.over.wait(FLAG_SECONDS):
                    raise StorageGivenUp("The attempt ended.") from error

    # --- the end

    def _take_home(self, folder: Path) -> None:
        """Add what only the supervisor knows to the artifacts, and upload them."""
        job = self.claim.job
        if not folder.resolve().is_relative_to(self.folder.resolve()) or links_in(folder):
            raise _Given(_failed(Reason.USER_CODE, "The job's code put links where its results should be."))
        self.reporter.put(Report(phase=Phase.UPLOADING, logs=["uploading"]))
        self.reporter.flush(force=True)
        metrics = self.around.facts.metrics(job.project, job.id) or ()
        logs = self.around.facts.logs(job.project, job.id) or ()
        (folder / "metrics.jsonl").write_bytes(json_lines(metrics))
        (folder / "logs.txt").write_text("".join(f"{line}\n" for line in logs))
        (folder / "job.json").write_text(self.around.jobs.find(job.project, job.id).model_dump_json(indent=2) + "\n")
        self.uploader.artifacts(self.claim, folder)

    def _ended_by(self, fact: Failed) -> Outcome:
        """How the attempt ends. Where another spec may help the next one, it is stored before the job is given back."""
        if fact.code == Reason.TRAINER_LOST and self.kills.rose():
            fact = Failed(code=Reason.OUT_OF_MEMORY, message="Memory ran out: the kernel ended a process of the job.")
        outcome, report = ended_by(fact, self.claim.job, self.spec, self._verdict)
        if report is not None:
            self.reporter.put(report)
            while self.reporter.is_behind:
                self.over.wait(FLAG_SECONDS)
                self.reporter.flush(force=True)
        return outcome

    def _verdict(self, spec: dict[str, Any]) -> Verdict:
        while True:
            try:
                return verdict(spec, self.around.preflight.check(needed(spec)), threads=self.around.threads)
            except PreflightBusy:
                self.over.wait(FLAG_SECONDS)

    def _finish(self, outcome: Outcome) -> JobState:
        while True:
            try:
                return self.around.attempts.finish(self.claim, outcome)
            except StoreUnavailable:
                self.over.wait(FLAG_SECONDS)

    def _thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=work, name=f"{name}-{self.claim.job.id}", daemon=True)
        self.threads.append(thread)
        thread.start()
        return thread


def _failed(code: Reason, message: str, *, hint: str | None = None) -> Outcome:
    return Outcome(kind="failed", error=JobError(code=code, message=message, hint=hint))


def _seconds_run(job: Job) -> float:
    """How long earlier attempts ran."""
    moves = [step for at, step in enumerate(job.transitions) if at == 0 or step.state != job.transitions[at - 1].state]
    return sum((after.at - before.at).total_seconds() for before, after in itertools.pairwise(moves) if before.state is JobState.RUNNING)
