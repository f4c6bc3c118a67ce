"""What submissions go by besides their specs, as it was at the last look: SUBMIT says when it is out of date."""

from __future__ import annotations

import threading

from service.jobs.estimating import LEARNT_FROM
from service.jobs.ports import JobStore, Outlook


class Outlooks:
    """The last look of each project."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, Outlook] = {}

    def last(self, project: str) -> Outlook | None:
        """The last one, where there was any."""
        return self._seen.get(project)

    def of(self, project: str, jobs: JobStore) -> Outlook:
        """The last one; the first is taken now."""
        return self.last(project) or self.after(None, project, jobs)

    def after(self, outdated: Outlook | None, project: str, jobs: JobStore) -> Outlook:
        """Another than this one: of many who ask at once, one looks."""
        with self._lock:
            seen = self._seen.get(project)
            if seen is None or seen is outdated:
                seen = self._seen[project] = jobs.outlook(project, limit=LEARNT_FROM)
            return seen
