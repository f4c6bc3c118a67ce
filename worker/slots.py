"""A worker's slots: claim, supervise, claim again; idle only after a claim that came back empty twice, so that no ring is lost."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace

from service.jobs.errors import Unavailable
from service.jobs.ports import AttemptStore, Claim, GpuLoad, WorkerBeat, WorkerRegistry
from service.jobs.state import JobState
from service.killpoints import KillPoint, passing
from service.logs import about
from worker.gpus import GpuPool

Taken = tuple[Claim, Sequence[str]]
"""A claim, and the GPUs that were taken for it."""
log = logging.getLogger("trainyard")


class Slots:
    """How many attempts run here, told to the registry at every change."""

    def __init__(
        self,
        *,
        attempts: AttemptStore,
        workers: WorkerRegistry,
        beat: WorkerBeat,
        supervise: Callable[[Claim, Sequence[str]], JobState | None],
        ring: Callable[[], None],
        held: Callable[[], tuple[int, float]],
        draining: threading.Event,
        gpus: GpuPool | None = None,
        loads: Callable[[], Sequence[GpuLoad]] = tuple,
    ) -> None:
        self._attempts, self._workers, self._supervise, self._draining = attempts, workers, supervise, draining
        self._gpus, self._loads = gpus, loads
        self._ring, self._held = ring, held
        self._beat = beat
        self._lock = threading.Lock()
        self._jobs: list[str] = []
        self._busy = 0

    def beat(self) -> None:
        """Tell the registry how things stand. Raises StoreUnavailable."""
        uploads, seconds = self._held()
        with self._lock:
            busy = self._beat.slots - self._free
            jobs, gpus = tuple(self._jobs), self._loads()
            beat = replace(self._beat, busy=busy, jobs=jobs, held_uploads=uploads, held_seconds=seconds, gpus=gpus)
        self._workers.beat(beat)

    @property
    def idle(self) -> bool:
        """Whether a ring would find a free slot here."""
        return self._free > 0

    @property
    def is_busy(self) -> bool:
        """Whether any attempt goes on here."""
        return bool(self._jobs)

    @property
    def _free(self) -> int:
        """Slots that could take a job; one whose GPU another slot's job has is none."""
        if self._draining.is_set():
            return 0
        slots = max(0, self._beat.slots - self._busy)
        return slots if self._gpus is None else min(slots, self._gpus.room)

    def work(self) -> None:
        """Answer one ring: run attempts until nothing waits."""
        taken = self._claim()
        while taken is not None:
            with self._busy_slot():
                while taken is not None:
                    self._run(*taken)
                    taken = self._claim()
            # idle, and known as idle: whatever was submitted just before that rang no bell
            taken = self._claim()

    def _claim(self) -> Taken | None:
        if self._draining.is_set():
            return None
        try:
            return self._claim_with_gpus(self._gpus) if self._gpus is not None else self._claim_alone()
        except Unavailable as error:
            log.warning("cannot claim: %s", error)
            return None

    def _claim_alone(self) -> Taken | None:
        claim = self._attempts.claim(worker=self._beat.name, device=self._beat.device)
        return None if claim is None else (claim, ())

    def _claim_with_gpus(self, gpus: GpuPool) -> Taken | None:
        with gpus.claiming:  # two slots that claim at once would count on the same GPUs
            if not gpus.free:
                return None
            claim = self._attempts.claim(worker=self._beat.name, device=self._beat.device, free_gpus=gpus.free, most_gpus=gpus.most)
            return None if claim is None else (claim, gpus.take(claim.job.gpus))

    @contextmanager
    def _busy_slot(self) -> Iterator[None]:
        with self._lock:
            self._busy += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1
            self._told()

    def _run(self, claim: Claim, gpus: Sequence[str]) -> None:
        job = claim.job.id
        with self._lock:
            self._jobs.append(job)
        self._told()
        passing(KillPoint.CLAIMED)
        with about(job=job, attempt=claim.job.attempt, project=claim.job.project):
            self._run_known(claim, gpus)

    def _run_known(self, claim: Claim, gpus: Sequence[str]) -> None:
        job = claim.job.id
        log.info("job %s: attempt %d starts", job, claim.job.attempt)
        try:
            with self._gpus.held(gpus) if self._gpus is not None else nullcontext():
                state = self._supervise(claim, gpus)
            log.info("job %s: attempt %d ended, the job is %s", job, claim.job.attempt, state or "another worker's")
        finally:
            with self._lock:
                self._jobs.remove(job)
        if state is JobState.QUEUED or len(gpus) > 1:  # there is room for several
            self._wake_another()

    def _wake_another(self) -> None:
        try:
            self._ring()
        except Unavailable as error:
            log.warning("cannot ring: %s", error)  # sweepers will

    def _told(self) -> None:
        try:
            self.beat()
        except Unavailable as error:
            log.warning("cannot tell the registry: %s", error)
