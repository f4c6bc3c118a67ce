"""Waiting for a job to change."""

from __future__ import annotations

from typing import Protocol, Self


class Watch(Protocol):
    """One job under watch. Entered before the first read, it misses nothing."""

    def __enter__(self) -> Self:
        """Start watching."""

    def __exit__(self, *_: object) -> None:
        """Stop watching."""

    async def wait(self, seconds: float) -> bool:
        """True once the job changed since the last wait (it may be a false alarm), False when the time is up."""


class Changes(Protocol):
    """Waiting for jobs to change, without polling the store."""

    def watch(self, job_id: str) -> Watch:
        """A watch on one job, made in the event loop that waits."""

    async def aclose(self) -> None:
        """Let every connection go."""
