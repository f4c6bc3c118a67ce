"""Who rings for new jobs, off the request path. What is rung too little or too late the sweepers ring for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from service.jobs.job import Device
from service.jobs.ports import Doorbell
from service.killpoints import KillPoint, passing


class Ringer:
    """Rings once for a job that came alone; where several came since the last ring, as the demand says."""

    def __init__(self, *, doorbell: Doorbell, ring_all: Callable[[], None]) -> None:
        self._doorbell, self._ring_all = doorbell, ring_all
        self._came: deque[Device | None] = deque()

    def came(self, device: Device | None = None) -> None:
        """A job waits for an idle slot of this class, or of one that the caller does not know."""
        self._came.append(device)

    def ring(self) -> None:
        """Ring for all that came. Raises Unavailable."""
        came = [self._came.popleft() for _ in range(len(self._came))]
        if len(came) == 1 and came[0] is not None:
            passing(KillPoint.BEFORE_RING)
            self._doorbell.ring(came[0], times=1)
        else:
            self._ring_all()
