"""What users ask of a job, in Redis: one Lua call each, guarded by the job's state."""

from __future__ import annotations

from typing import Any

from service.adapters.redis_records import job_of
from service.adapters.redis_scripts import Scripts
from service.jobs.errors import IllegalTransition, JobNotFound, StillNeeded
from service.jobs.job import Job
from service.jobs.state import JobState


class RedisRequests:
    """The Requests port."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    def cancel(self, project: str, job_id: str) -> Job:
        """End a waiting or paused job, flag a running one; a cancelled one stays so."""
        return job_of(self._asked("cancel", project, job_id, wanted=JobState.CANCELLED)[1])

    def pause(self, project: str, job_id: str) -> Job:
        """Set a waiting job aside, flag a running one; a paused one stays so."""
        return job_of(self._asked("pause", project, job_id, wanted=JobState.PAUSED)[1])

    def resume(self, project: str, job_id: str) -> Job:
        """Put a paused job back where it stood; take the flag from a running one."""
        return job_of(self._asked("resume", project, job_id, wanted=JobState.QUEUED)[1])

    def delete(self, project: str, job_id: str) -> None:
        """Take an ended job's record away, and leave its objects to the sweepers. Raises StillNeeded."""
        answer = self._asked("delete", project, job_id, wanted="deleted")
        if answer[0] == b"needed":
            raise StillNeeded(job_id, by=answer[1].decode())

    def _asked(self, script: str, project: str, job_id: str, *, wanted: str) -> Any:
        answer = self._scripts.call(script, job_id, project)
        if answer is None:
            raise JobNotFound(job_id)
        if answer[0] == b"illegal":
            raise IllegalTransition(job_id, state=answer[1].decode(), wanted=wanted)
        return answer
