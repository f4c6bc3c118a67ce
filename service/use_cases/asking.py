"""What users ask of a job that is there: stop, set aside, go on, go away."""

from __future__ import annotations

from service.jobs.job import Job
from service.use_cases.services import Services


def cancel(project: str, job_id: str, *, services: Services) -> Job:
    """Stop the job: at once while it waits or is paused, within two seconds while it runs. Raises JobNotFound, IllegalTransition."""
    return services.requests.cancel(project, job_id)


def pause(project: str, job_id: str, *, services: Services) -> Job:
    """Set the job aside, after a checkpoint of its last step where it runs. Raises JobNotFound, IllegalTransition."""
    return services.requests.pause(project, job_id)


def resume(project: str, job_id: str, *, services: Services) -> Job:
    """Let a paused job go on from where it was. Raises JobNotFound, IllegalTransition."""
    job = services.requests.resume(project, job_id)
    services.ring()
    return job


def delete(project: str, job_id: str, *, services: Services) -> None:
    """Take an ended job away, with all that it left. Raises JobNotFound, IllegalTransition, StillNeeded."""
    services.requests.delete(project, job_id)
