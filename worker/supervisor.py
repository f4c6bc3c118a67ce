"""One attempt, from the claim to the end: start a trainer, relay its facts, renew the lease, upload, finish. Computes nothing itself."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import ValidationError

from service.jobs.errors import Fenced, PreflightBusy, StoreUnavailable
from service.jobs.job import CheckpointPointer, Job
from service.jobs.ports import AttemptStore, Claim, Disposal, FactLog, Flags, Outcome, Report
from service.jobs.rows import json_lines
from service.jobs.state import JobState, Phase, Reason
from service.jobs.steps import STEP_COLUMNS, Step
from service.killpoints import KillPoint, passing
from service.spec.checking import is_custom, needed, verdict
from service.spec.training import Training
from service.spec.verdict import Verdict
from worker.backlog import Backlog
from worker.contained_trainer import WRITTEN_BYTES, ContainedTrainer, NotContained
from worker.folders import AttemptFolders
from worker.holding import Held
from worker.leftovers import Unfit, Weight, check_results, check_written, weigh
from worker.limits import OUT_OF_TIME, Limits
from worker.oom import KillCount
from worker.outcomes import Ending, failed, given_back
from worker.preparing import Prepared, Sources, prepare
from worker.remedies import ended_by, rollbacks
from worker.reports import Reporter, event
from worker.room import Room
from worker.training.facts import (
    CheckpointWritten,
    EpochDone,
    Fact,
    Failed,
    FirstStepDone,
    PhaseStarted,
    PlanChosen,
    Stopped,
    Succeeded,
    from_line,
)
from worker.unpacking import DatasetMissing
from worker.uploads import NotThere, Storage, StorageGivenUp, Uploader
from worker.zygote import Trainer, ZygoteGone

T = TypeVar("T")
log = logging.getLogger("trainyard")
FLAG_SECONDS = 1.0
EXIT_SECONDS = 10.0
MAX_LINE = 16 * 1024**2
WAITING_BYTES = 64 * 1024**2
"""Of facts that were read and are not passed on yet: a trainer that says more has to wait, and not this process's memory to grow."""


@dataclass(frozen=True)
class _Told:
    """A fact, and how many bytes it was on the pipe."""

    fact: Fact
    size: int


class Spawner(Protocol):
    """What makes trainers."""

    def spawn(self, gpus: Sequence[str] = ()) -> Trainer:
        """A new trainer for these GPUs. Raises ZygoteGone."""

    def refill(self) -> None:
        """Make ready for the next one: this one is under way."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Everything an attempt needs from its worker."""

    sources: Sources
    attempts: AttemptStore
    facts: FactLog
    disposal: Disposal
    folders: AttemptFolders
    trusts_code: bool
    spawner: Spawner
    draining: threading.Event
    stall_seconds: float
    renew_seconds: float = FLAG_SECONDS
    """How often the lease is renewed and the user's flags are read."""
    storage_patience_seconds: float
    held: Held = field(default_factory=Held)
    """What waits for storage."""


def supervise(claim: Claim, around: Surroundings, gpus: Sequence[str] = ()) -> JobState | None:
    """Run one attempt to its end; the job's new state, or None where the attempt was fenced off (nothing was written then).

    `gpus` are those that it may use, by the driver's names; without any it sees what its worker sees.
    """
    with around.folders.of(claim) as folder, contextlib.ExitStack() as kept:
        return _Attempt(claim, around, folder, kept, gpus).run()


class _Attempt:
    """The state of one attempt while it runs. Every thread of it talks to the main one through `inbox`."""

    def __init__(self, claim: Claim, around: Surroundings, folder: Path, kept: contextlib.ExitStack, gpus: Sequence[str]) -> None:
        self.claim, self.around, self.folder, self.kept, self.gpus = claim, around, folder, kept, gpus
        self.inbox: queue.Queue[_Told | Flags | CheckpointPointer | Exception | None] = queue.Queue()
        self.room = Room(WAITING_BYTES)
        self.over = threading.Event()
        self.pausing = self.out_of_time = False
        self.reporter = Reporter(around.facts, claim)
        self.kills = KillCount()
        self.storage = Storage(patience_seconds=around.storage_patience_seconds, abandon=self.over, tell=self._storage_says)
        self.uploader = Uploader(around.sources.artifacts, self.storage)
        self.threads: list[threading.Thread] = []
        self.before: Weight | None = None
        """What lay in the folder before custom code began to write there."""

    def run(self) -> JobState | None:
        self._thread("lease", self._hold_lease)
        try:
            outcome = self._outcome()
            self.reporter.flush(force=True)
            state = self._finish(outcome)
            passing(KillPoint.FINISHED)
        except Fenced:
            return None
        else:
            return state
        finally:
            self.over.set()
            for thread in self.threads:
                thread.join()
            self._leave_to_sweepers()

    def _outcome(self) -> Outcome:
        try:
            prepared = prepare(
                self.claim.job, self.folder, sources=self.around.sources, storage=self.storage, reporter=self.reporter, kept=self.kept
            )
            self.spec = prepared.spec
            with self._sending() as backlog:
                with self._trainer(prepared) as trainer:
                    ended = self._relay(trainer, backlog)
                # every checkpoint that was written is committed before the attempt ends
                backlog.finish()
            self._raise_what_arrived()
            if isinstance(ended, Failed):
                return self._ended_by(ended)
            if isinstance(ended, Stopped):
                self.reporter.tell(ended)
                if self.out_of_time:
                    return OUT_OF_TIME
                return Outcome(kind="give_back", reason=Reason.PAUSED if self.pausing else Reason.DRAINED, counts=False)
            self._take_home(Path(ended.directory))
            return Outcome(kind="succeeded")
        except Ending as end:
            return end.outcome
        except DatasetMissing as error:
            return failed(Reason.BAD_DATA, str(error))
        except (NotThere, Unfit) as error:
            return failed(Reason.USER_CODE, str(error))
        except StorageGivenUp as error:
            kept = self.around.folders.keep(self.folder)
            return failed(Reason.STORAGE, str(error), hint=f"What was not uploaded is kept in {kept}. Retry the job once storage is back.")
        except ZygoteGone as error:
            return given_back(Reason.TRAINER_LOST, str(error))

    # --- before the first step

    @contextlib.contextmanager
    def _sending(self) -> Iterator[Backlog]:
        """Checkpoints go to storage while the block lasts. Leaving it waits for none of them: who wants that calls `finish` before."""
        keep = self.spec["checkpoint"]["keep_last"]
        around = self.around
        backlog = Backlog(
            self.claim,
            uploader=self.uploader,
            attempts=around.attempts,
            folder=self.folder,
            keep=keep,
            over=self.over,
            tell=self.inbox.put,
            held=around.held,
        )
        self._thread("uploads", backlog.send_each)
        try:
            yield backlog
        finally:
            backlog.close()

    @contextlib.contextmanager
    def _trainer(self, prepared: Prepared) -> Iterator[Trainer]:
        """A trainer with its job in hand; killed with everything that it started when the block is left."""
        job = self.claim.job
        trainer = self._started(prepared)
        try:
            trainer.send(
                prepared.as_command(job, self.folder)
                | {"rollbacks": rollbacks(job), "rows": self._rows_before(prepared), "gpus": list(self.gpus) or None}
            )
            passing(KillPoint.TRAINER_STARTED)
            self._thread("facts", lambda: self._read_facts(trainer))
            yield trainer
        finally:
            trainer.kill()
            trainer.wait(EXIT_SECONDS)
            trainer.close()

    def _rows_before(self, prepared: Prepared) -> list[Mapping[str, Any]]:
        """The epochs that earlier attempts have told, for the trainer to draw the whole curve."""
        if prepared.resume is None:
            return []
        job = self.claim.job
        return self._patiently(lambda: list(self.around.facts.metrics(job.project, job.id) or ()))

    def _started(self, prepared: Prepared) -> Trainer:
        """A warm trainer; for custom code a contained one, unless the operator trusts it."""
        if not is_custom(prepared.spec) or self.around.trusts_code:
            return self.around.spawner.spawn(self.gpus)
        self.before = weigh(self.folder)  # data that were unpacked there are not its work
        try:
            trainer = ContainedTrainer.start(self.folder, [prepared.datasets_dir, *prepared.decoded()])
        except NotContained as error:
            raise Ending(failed(Reason.USER_CODE, str(error))) from error
        self._thread("written", self._watch_written)
        return trainer

    def _watch_written(self) -> None:
        try:
            while not self.over.wait(FLAG_SECONDS):
                self._check_written()
        except Unfit as error:
            self.inbox.put(error)

    def _check_written(self) -> None:
        if self.before is not None:
            check_written(self.folder, before=self.before, limit_bytes=WRITTEN_BYTES)

    # --- while it runs

    def _relay(self, trainer: Trainer, backlog: Backlog) -> Succeeded | Stopped | Failed:
        """Pass facts on until the trainer is done, or rolls back. Raises Ending for every other end."""
        limits = Limits(self.claim.job, stall_seconds=self.around.stall_seconds)
        while True:
            self.out_of_time = limits.is_out_of_time()
            if self.pausing or self.out_of_time or self.around.draining.is_set():
                trainer.send({"command": "stop"})  # said again is harmless
            try:
                item = self.inbox.get(timeout=0.2)
            except queue.Empty:
                limits.check()
                self.reporter.flush()
                continue
            if isinstance(item, Flags | CheckpointPointer | Exception):
                self._heed(item)  # our own threads' words are no sign of the trainer's life
                continue
            limits.heard()
            fact = None if item is None else item.fact
            self.room.give_back(item.size if item is not None else 0)
            match fact:
                case Succeeded() | Stopped():
                    return fact
                case Failed(skip_batches=[_, *_]):
                    return fact  # what is left out lies behind its last checkpoint: that has to be committed first
                case Failed():
                    raise Ending(self._ended_by(fact))
                case CheckpointWritten():
                    backlog.add(fact)
                case None:
                    status = trainer.wait(EXIT_SECONDS)
                    word = f"the trainer process ended without a word (exit status {status})"
                    self.reporter.say("warning", word)
                    raise Ending(self._ended_by(Failed(code=Reason.TRAINER_LOST, message=word)))
                case _:
                    self._pass_on(fact, limits)

    def _pass_on(self, fact: Fact, limits: Limits) -> None:
        if isinstance(fact, PhaseStarted):
            limits.enter(fact.phase)
        if isinstance(fact, FirstStepDone):
            self.around.spawner.refill()
        if isinstance(fact, EpochDone) and fact.epoch > self.spec["epochs"]:
            raise Unfit("The trainer told of more epochs than the job has.")
        if isinstance(fact, PlanChosen):  # the next attempt, and train.py, compute as this one does
            self.spec["training"] |= _plan(fact)
            self.reporter.put(Report(resolved_spec=self.spec))
        self.reporter.tell(fact)
        self.reporter.flush()

    def _heed(self, word: Flags | CheckpointPointer | Exception) -> None:
        """What the attempt's own threads say: the user's flags, a commit, or why they had to stop."""
        match word:
            case Flags(cancel=True):
                raise Ending(Outcome(kind="cancelled"))
            case Flags(pause=pausing):
                self.pausing = pausing
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
                told = _Told(from_line(line), len(line))
            except ValueError as error:
                self.inbox.put(Unfit(f"The trainer said what is {error}."))
                return
            if not self.room.take(told.size, given_up=self.over.is_set):
                return
            self.inbox.put(told)
        self.inbox.put(None)

    def _hold_lease(self) -> None:
        """Renew and read the flags, whatever the trainer does; training goes on while the store is away."""
        while not self.over.wait(self.around.renew_seconds):
            try:
                flags = self.around.attempts.renew(self.claim)
            except Fenced as error:
                self.inbox.put(error)
                return
            except StoreUnavailable:
                continue
            if flags.cancel or flags.pause != self.pausing:
                self.inbox.put(flags)

    # --- the end

    def _take_home(self, folder: Path) -> None:
        """Add what only the supervisor knows to the artifacts, and upload them."""
        job = self.claim.job
        if not folder.resolve().is_relative_to(self.folder.resolve()):
            raise Unfit("The job's code put its results elsewhere.")
        self._check_written()  # a file of holes is large at once, and fills storage, which keeps none
        check_results(folder)
        self.reporter.put(Report(phase=Phase.UPLOADING, logs=["uploading"]))
        self.reporter.flush(force=True)
        rows, steps, logs, record = self._patiently(lambda: self._told_so_far(job))
        (folder / "metrics.jsonl").write_bytes(rows)
        (folder / "steps.jsonl").write_bytes(json_lines(dict(zip(STEP_COLUMNS, step, strict=True)) for step in steps))
        (folder / "logs.txt").write_text("".join(f"{line}\n" for line in logs))
        (folder / "job.json").write_text(record.model_dump_json(indent=2, exclude={"notify"}) + "\n")
        passing(KillPoint.BEFORE_ARTIFACTS)
        with self.around.held.holding(folder):
            self.uploader.artifacts(self.claim, folder)
        passing(KillPoint.ARTIFACTS_MANIFEST_PUT)

    def _told_so_far(self, job: Job) -> tuple[bytes, Sequence[Step], Sequence[str], Job]:
        place, facts = (job.project, job.id), self.around.facts
        return (
            facts.lines(*place, "rows") or b"",
            facts.steps(*place) or (),
            facts.logs(*place) or (),
            self.around.sources.jobs.find(*place),
        )

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
                return verdict(spec, self.around.sources.preflight.check(needed(spec)), threads=self.around.sources.threads)
            except PreflightBusy:
                self.over.wait(FLAG_SECONDS)

    def _finish(self, outcome: Outcome) -> JobState:
        return self._patiently(lambda: self.around.attempts.finish(self.claim, outcome))

    def _patiently(self, ask: Callable[[], T]) -> T:
        """What the store answers, however long it is away: an attempt ends only with a word to it."""
        while True:
            try:
                return ask()
            except StoreUnavailable:
                self.over.wait(FLAG_SECONDS)

    def _leave_to_sweepers(self) -> None:
        """Whatever of this attempt no record names, also what was written while it was fenced off already."""
        with contextlib.suppress(StoreUnavailable):  # then the store's own second look finds it
            self.around.disposal.litter(self.claim.job.project, self.claim.job.id)

    def _storage_says(self, what: str) -> None:
        log.warning("job %s: %s", self.claim.job.id, what)
        try:
            self.reporter.say("storage", what)
        except Fenced as error:
            self.inbox.put(error)

    def _thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        # what it logs is about this attempt, too
        thread = threading.Thread(target=copy_context().run, args=(work,), name=f"{name}-{self.claim.job.id}", daemon=True)
        self.threads.append(thread)
        thread.start()
        return thread


def _plan(fact: PlanChosen) -> dict[str, Any]:
    """The keys of `training` that it decides. Raises Unfit: with custom code inside, a trainer may tell of any."""
    try:
        return {name: getattr(Training.model_validate(fact.training), name) for name in fact.training}
    except ValidationError as error:
        raise Unfit(f"The trainer told of a plan that is none: {error.errors()[0]['msg']}.") from error
