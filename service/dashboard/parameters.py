"""How many parameters jobs' models have: a spec never changes, so each is checked once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from service import use_cases
from service.api.views import JobView
from service.jobs.errors import TrainyardError
from service.use_cases import Services

REMEMBERED = 5000
AT_ONCE = 4


class Parameters:
    """The numbers that are known already."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()
        self._askers = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="parameters")

    def known(self, jobs: Sequence[JobView]) -> list[int | None]:
        """What needs no check."""
        with self._lock:
            return [self._known.get(job.id) for job in jobs]

    def of(self, project: str, jobs: Sequence[JobView], *, services: Services) -> list[int | None]:
        """One number for each; None where it cannot be told now."""
        return list(self._askers.map(partial(self._one, project, services=services), jobs))

    def _one(self, project: str, job: JobView, *, services: Services) -> int | None:
        with self._lock:
            if job.id in self._known:
                return self._known[job.id]
        try:
            found = use_cases.validate(job.spec, project=project, services=services).num_parameters
        except TrainyardError:
            return None
        if found is not None:
            with self._lock:
                self._known[job.id] = found
                while len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
        return found
