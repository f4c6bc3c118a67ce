"""What projects have of what quotas limit, in Redis."""

from __future__ import annotations

from datetime import timedelta

from service.access.quota import RESERVED, Quota, QuotaExceeded, Usage
from service.adapters.redis_scripts import Scripts


class RedisAccounts:
    """The Accounts port. `quota`: of projects that have none of their own."""

    def __init__(self, scripts: Scripts, *, quota: Quota) -> None:
        self._scripts, self._quota = scripts, quota.model_dump_json()

    def usage(self, project: str) -> Usage:
        """Now."""
        running, queued, stored, gpu_ms = map(int, self._scripts.call("usage", project))
        return Usage(running, queued, stored, timedelta(milliseconds=gpu_ms))

    def room(self, project: str) -> int | None:
        """How many bytes more it may store; None where nothing limits it."""
        bytes_left = self._scripts.call("room", project, self._quota)
        return None if bytes_left is None else int(bytes_left)

    def reserve(self, project: str, owner: str, size: int) -> None:
        """Count bytes that are about to be stored, for a while. Raises QuotaExceeded."""
        answer = self._scripts.call("reserve", project, owner, size, int(RESERVED / timedelta(milliseconds=1)), self._quota)
        if answer[0] != b"ok":
            raise exceeded(answer, wanted=size)

    def charge(self, project: str, owner: str, size: int) -> None:
        """So many bytes in storage are the owner's."""
        self._scripts.call("charge", project, owner, size)


def exceeded(answer: list[bytes], *, wanted: int = 0) -> QuotaExceeded:
    """What a script said that refused: {"quota", which, used, limit}."""
    _, which, used, limit = answer
    return QuotaExceeded(which.decode(), used=float(used), limit=float(limit), wanted=wanted)
