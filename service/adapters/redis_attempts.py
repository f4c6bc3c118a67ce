"""Jobs in Redis as a worker sees them: every write but CLAIM names its fencing token."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

from service.access.quota import Quota
from service.adapters.redis_records import job_of
from service.adapters.redis_scripts import Scripts
from service.adapters.stores import failure, newer_spec, reason_of
from service.jobs.errors import Fenced
from service.jobs.job import CheckpointPointer, Device
from service.jobs.ports import Claim, Flags, Outcome
from service.jobs.state import JobState
from service.spec.job import SPEC_VERSION


class RedisAttempts:
    """The AttemptStore. `quota`: of projects that have none of their own."""

    def __init__(self, scripts: Scripts, *, lease_seconds: float, quota: Quota) -> None:
        self._scripts, self._lease_ms, self._quota = scripts, int(lease_seconds * 1000), quota.model_dump_json()

    def claim(self, *, worker: str, device: Device, free_gpus: int = 1, most_gpus: int = 1) -> Claim | None:
        """Take the best pending job this worker can run, with a new fencing token and a lease; None where none waits, or one for which GPUs are kept."""
        limits = (SPEC_VERSION, self._quota, free_gpus, most_gpus, newer_spec(SPEC_VERSION).model_dump_json())
        answer = self._scripts.call("claim", worker, device, self._lease_ms, uuid4().hex, *limits)
        if answer is None:
            return None
        job = job_of(answer)
        return Claim(job=job, token=job.token, worker=worker)

    def renew(self, claim: Claim) -> Flags:
        """Push the lease out and read the user's flags. Raises Fenced."""
        flags = self._scripts.call("renew", claim.job.id, claim.token, self._lease_ms, self._quota)
        if flags is None:
            raise Fenced(claim.job.id, token=claim.token)
        return Flags(cancel=flags[0] == b"1", pause=flags[1] == b"1")

    def checkpoint(self, claim: Claim, pointer: CheckpointPointer, *, keep: int) -> Sequence[CheckpointPointer]:
        """Make an uploaded checkpoint the one to start from, and answer those that are not among the `keep` newest any more.

        An older one than the current is ignored. Raises Fenced.
        """
        place = (pointer.token, pointer.step, pointer.model_dump_json())
        dropped = self._scripts.call("checkpoint", claim.job.id, claim.token, *place, keep)
        if dropped is None:
            raise Fenced(claim.job.id, token=claim.token)
        return [CheckpointPointer.model_validate_json(each) for each in dropped]

    def finish(self, claim: Claim, outcome: Outcome) -> JobState:
        """End the attempt and say where the job went: a cancel flag wins, `give_back` obeys max_retries. Raises Fenced."""
        error = failure(outcome)
        args = (outcome.kind, reason_of(outcome), "1" if outcome.counts else "", error.model_dump_json() if error else "")
        state = self._scripts.call("finish", claim.job.id, claim.token, *args)
        if state is None:
            raise Fenced(claim.job.id, token=claim.token)
        return JobState(state.decode())
