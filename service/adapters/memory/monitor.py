"""The twin of what monitors ask."""

from __future__ import annotations

from collections import defaultdict

from service.adapters.memory.others import MemoryWorkers
from service.adapters.memory.shelf import Shelf
from service.datasets.record import DatasetState
from service.jobs.job import Job
from service.jobs.ports import Line, Standing
from service.jobs.state import JobState


class MemoryMonitor:
    """The Monitor port. Memory has no limit of its own."""

    def __init__(self, shelf: Shelf, workers: MemoryWorkers) -> None:
        self._shelf, self._workers = shelf, workers

    def standing(self) -> Standing:
        """Now."""
        shelf = self._shelf
        with shelf.lock:
            places: defaultdict[tuple[str, str], list[Job]] = defaultdict(list)
            for job in shelf.jobs.values():
                if job.state in (JobState.QUEUED, JobState.RUNNING):
                    places[job.device, job.project].append(job)
            return Standing(
                at=shelf.now(),
                lines=[self._line(places[place]) for place in sorted(places)],
                workers=self._workers.workers(),
                unsaved=len(shelf.unsaved),
                unsaved_since=min(shelf.unsaved.values(), default=None),
                to_look_at=sum(each.state is DatasetState.VALIDATING for each in shelf.datasets.values()),
                counts=dict(shelf.counts),
            )

    def _line(self, jobs: list[Job]) -> Line:
        waiting = [self._shelf.submitted[job.id] for job in jobs if job.state is JobState.QUEUED]
        return Line(
            device=jobs[0].device,
            project=jobs[0].project,
            waiting=len(waiting),
            oldest_at=min(waiting, default=None),
            running=len(jobs) - len(waiting),
        )
