"""A worker's slots: claim, supervise, claim again; idle only after a claim that came back empty twice, so that no ring is lost."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from service.jobs.errors import Unavailable
from service.jobs.ports import AttemptStore, Claim, WorkerBeat, WorkerRegistry
from service.jobs.state import JobState
from service.killpoints import KillPoint, passing
from service.logs import about

log = logging.getLogger("trainyard")


class Slots:
    """How many attempts run here, told to the registry at every change."""

    def __init__(
        self,
        *,
        attempts: AttemptStore,
        workers: WorkerRegistry,
        beat: WorkerBeat,
        supervise: Callable[[Claim], JobState | None],
        ring: Callable[[], None],
        held: Callable[[], tuple[int, float]],
        draining: threading.Event,
    ) -> None:
        self._attempts, self._workers, self._supervise, self._draining = attempts, workers, supervise, draining
        self._ring, self._held = ring, held
        self._beat = beat
        self._lock = threading.Lock()
        self._jobs: list[str] = []
        self._busy = 0

    def beat(self) -> None:
        """Tell the registry how things stand. Raises StoreUnavailable."""
        uploads, seconds = self._held()
        with self._lock:
            busy = self._beat.slots if self._draining.is_set() else self._busy
            beat = replace(self._beat, busy=busy, jobs=tuple(self._jobs), held_uploads=uploads, held_seconds=seconds)
        self._workers.beat(beat)

    @property
    def idle(self) -> bool:
        """Whether a ring would find a free slot here."""
        return not self._draining.is_set() and self._busy < self._beat.slots

    def work(self) -> None:
        """Answer one ring: run attempts until nothing waits."""
        claim = self._claim()
        while claim is not None:
            with self._busy_slot():
                while claim is not None:
                    self._run(claim)
                    claim = self._claim()
            # idle, and known as idle: whatever was submitted just before that rang no bell
            claim = self._claim()

    def _claim(self) -> Claim | None:
        if self._draining.is_set():
            return None
        try:
            return self._attempts.claim(worker=self._beat.name, device=self._beat.device)
        except Unavailable as error:
            log.warning("cannot claim: %s", error)
            return None

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

    def _run(self, claim: Claim) -> None:
        job = claim.job.id
        with self._lock:
            self._jobs.append(job)
        self._told()
        passing(KillPoint.CLAIMED)
        with about(job=job, attempt=claim.job.attempt, project=claim.job.project):
            self._run_known(claim)

    def _run_known(self, claim: Claim) -> None:
        job = claim.job.id
        log.info("job %s: attempt %d starts", job, claim.job.attempt)
        try:
            state = self._supervise(claim)
            log.info("job %s: attempt %d ended, the job is %s", job, claim.job.attempt, state or "another worker's")
        finally:
            with self._lock:
                self._jobs.remove(job)
        if state is JobState.QUEUED:
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
