"""From a body to a queued job: check, place, store, ring. And from an ended job to its retry."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from service.jobs.errors import DatasetNotFound, IllegalTransition, JobNotFound, Outdated, PreflightBusy, SpecRejected, Unavailable
from service.jobs.estimating import LEARNT_FROM
from service.jobs.job import NEWER_SPEC, Device, Endpoint, Job
from service.jobs.ports import Idempotency, JobStore, Outlook, Submitted
from service.jobs.state import JobState, Reason
from service.killpoints import KillPoint, passing
from service.spec.checking import needed, verdict
from service.spec.job import read_spec
from service.spec.notify import with_hidden
from service.spec.rules import NOT_LOOKED_UP
from service.spec.verdict import Fault, SpecWarning, Verdict
from service.use_cases.datasets import is_brought, no_dataset, with_content
from service.use_cases.evaluating import as_the_model_has_it
from service.use_cases.judging import Judged, Learnt, shape_of
from service.use_cases.notifying import looked_at
from service.use_cases.reading import metrics, steps
from service.use_cases.services import Services

NO_WORKER = "no_capable_worker"
_FRESH = Job(id="", created_at=datetime.min.replace(tzinfo=UTC), spec={})
"""What a job has before anything is known of it."""


def new_id(now: datetime) -> str:
    """A job's id: sorts by time, cannot be guessed. 11 hex digits of milliseconds, 10 of chance."""
    return f"job_{int(now.timestamp() * 1000):011x}{_chance.hex()}"


class _Chance:
    """Random bytes of the system's, a few hundred fetched at a time: each fetch is a system call."""

    def __init__(self) -> None:
        self._bytes: deque[bytes] = deque()

    def hex(self) -> str:
        """10 digits that were never handed out before."""
        try:
            return self._bytes.popleft().hex()
        except IndexError:  # used up; other threads may fetch at the same time, which only fetches more
            fetched = secrets.token_bytes(5 * 100)
            self._bytes.extend(fetched[at : at + 5] for at in range(5, len(fetched), 5))
            return fetched[:5].hex()


_chance = _Chance()


def validate(body: Mapping[str, Any], *, project: str, services: Services) -> Verdict:
    """Every fault at once. Without torch beside the API only what needs no torch is checked, and a warning says so."""
    closed, warnings = looked_at(body, services=services)
    whole, faults = _looked_up(body, project=project, services=services)
    found = _verdict(whole, faults, closed, services=services)
    found = found.model_copy(update={"warnings": (*found.warnings, *warnings)}) if warnings else found
    if found.resolved_spec is None:
        return found
    outlook = services.jobs.outlook(project, limit=LEARNT_FROM)
    return found.model_copy(update={"estimate": Learnt(found.resolved_spec, found.memory_bytes).by(outlook)})


def _verdict(whole: Mapping[str, Any], faults: Sequence[Fault], closed: Sequence[Fault], *, services: Services) -> Verdict:
    """What is wrong with a body besides `faults` of what stands elsewhere, and `closed` ones of whom it tells."""
    try:
        checked = services.preflight.check(needed(whole))
    except PreflightBusy:
        raise
    except Unavailable:
        found = _checked_without_torch(whole, threads=services.threads)
    else:
        found = verdict(whole, checked, threads=services.threads)
    if not (faults or closed):
        return found
    others = (each for each in found.errors if each.code != NOT_LOOKED_UP)
    return found.model_copy(update={"valid": False, "resolved_spec": None, "errors": (*faults, *others, *closed)})


def _looked_up(body: Mapping[str, Any], *, project: str, services: Services) -> tuple[Mapping[str, Any], list[Fault]]:
    """The body with what other jobs and uploads add to it, and what is wrong with these."""
    whole, faults = _with_earlier_model(body, project=project, jobs=services.jobs)
    whole, more = with_content(whole, project=project, services=services)
    if not (faults or more) and whole.get("epochs") == 0:
        whole, more = as_the_model_has_it(whole, project=project, services=services)
    return whole, [*faults, *more]


def _with_earlier_model(body: Mapping[str, Any], *, project: str, jobs: JobStore) -> tuple[Mapping[str, Any], list[Fault]]:
    """The body of a warm start with the earlier job's model in it, and what is wrong with that job."""
    if not _is_warm_start(body):
        return body, []
    model = body["model"]
    plain = {name: value for name, value in model.items() if name != "model"}
    try:
        earlier = jobs.find(project, model["job_id"])
    except JobNotFound:
        detail, suggestion = f"There is no job {model['job_id']} in this project.", "Take an id from GET /v1/jobs?state=succeeded."
        return {**body, "model": plain}, [Fault(pointer="/model/job_id", code="no_job", detail=detail, suggestion=suggestion)]
    if earlier.state is not JobState.SUCCEEDED and earlier.checkpoint is None:
        detail = f"Job {earlier.id} is {earlier.state} and has no weights yet."
        fault = Fault(pointer="/model/job_id", code="no_weights", detail=detail, suggestion="Wait for its first checkpoint, or its end.")
        return {**body, "model": plain}, [fault]
    inner = (earlier.resolved_spec or {}).get("model", {})
    return {**body, "model": plain | {"model": inner.get("model") if inner.get("type") == "Job" else inner}}, []


def _is_warm_start(body: Mapping[str, Any]) -> bool:
    model = body.get("model")
    return isinstance(model, Mapping) and model.get("type") == "Job" and isinstance(model.get("job_id"), str)


def _checked_without_torch(body: Mapping[str, Any], *, threads: int) -> Verdict:
    found = verdict(body, None, threads=threads)
    detail = "torch is not installed beside the API: sizes are checked by the worker, as its first phase."
    return found.model_copy(update={"warnings": (*found.warnings, SpecWarning(code="not_checked", detail=detail))})


def submit(body: Mapping[str, Any], *, project: str, idempotency: Idempotency | None, services: Services) -> Submitted:
    """Check the spec whole, store the job, wake a worker. Raises SpecRejected, IdempotencyConflict, Unavailable."""
    judged = _judged(body, project=project, services=services)
    outlook = services.outlooks.of(project, services.jobs)
    job = _new(body, judged, outlook, project=project, now=services.now)
    passing(KillPoint.BEFORE_SUBMIT)
    try:
        submitted = services.jobs.submit(job, idempotency=idempotency, outlook=outlook)
    except Outdated:
        outlook = services.outlooks.after(outlook, project, services.jobs)
        job = _new(body, judged, outlook, project=project, now=services.now)
        submitted = services.jobs.submit(job, idempotency=idempotency)
    except DatasetNotFound as error:  # it was removed while the spec was checked
        raise SpecRejected([no_dataset(error)]) from error
    passing(KillPoint.AFTER_SUBMIT)
    if submitted.rings:
        services.ring(submitted.job.device)
    return submitted


def script(body: Mapping[str, Any], *, project: str, services: Services) -> str:
    """The textbook's program of a spec, as its job would hand it out. Raises SpecRejected, Unavailable."""
    resolved = _judged(body, project=project, services=services).resolved_spec
    if resolved is None:
        raise Unavailable("torch is not installed beside the API: the program is written by the worker, among the job's artifacts.")
    return services.preflight.script(resolved)


async def submit_recalled(
    body: Mapping[str, Any], *, project: str, idempotency: Idempotency | None, services: Services
) -> Submitted | None:
    """As `submit`, for an event loop: nothing blocks. None where the spec has to be judged first, or what it goes by looked at."""
    outlook = services.outlooks.last(project)
    shape = shape_of(body)
    simple = not (_is_warm_start(body) or is_brought(body) or body.get("notify"))
    judged = services.judgements.recall(body, shape) if outlook and simple else None
    if judged is None or outlook is None:
        return None
    job = _new(body, judged, outlook, project=project, now=services.now)
    passing(KillPoint.BEFORE_SUBMIT)
    try:
        submitted = await services.intake.submit(job, shape=shape, idempotency=idempotency, outlook=outlook)
    except Outdated:
        outlook = await asyncio.to_thread(services.outlooks.after, outlook, project, services.jobs)
        job = _new(body, judged, outlook, project=project, now=services.now)
        submitted = await services.intake.submit(job, shape=shape, idempotency=idempotency, outlook=None)
    passing(KillPoint.AFTER_SUBMIT)
    if submitted.rings:
        services.ring(submitted.job.device)
    return submitted


def _judged(body: Mapping[str, Any], *, project: str, services: Services) -> Judged:
    """What is known of this spec, or found now. Raises SpecRejected."""
    closed, warnings = looked_at(body, services=services)
    whole, faults = _looked_up(body, project=project, services=services)
    judged = _known_or_found(whole, faults, closed, services=services)
    return replace(judged, warnings=(*judged.warnings, *warnings)) if warnings else judged


def _known_or_found(whole: Mapping[str, Any], faults: Sequence[Fault], closed: Sequence[Fault], *, services: Services) -> Judged:
    shape = shape_of(whole)
    known = services.judgements.recall(whole, shape) if not (faults or closed) else None
    if known is not None:
        return known
    found = _verdict(whole, faults, closed, services=services)
    if not found.valid:
        raise SpecRejected(found.errors)
    judged = Judged.by(read_spec(whole), found)
    if judged.resolved_spec is not None:
        services.judgements.keep(shape, judged)
    return judged


def _new(body: Mapping[str, Any], judged: Judged, outlook: Outlook, *, project: str, now: Callable[[], datetime]) -> Job:
    device, warnings = _placed(judged.resources.device, judged.resources.gpus, live=outlook.devices, job_gpus=outlook.job_gpus)
    estimate = judged.learnt.by(outlook) if judged.learnt else None
    created_at = now()
    # each part was checked before it came here: a record is made of them, and not checked again
    return _FRESH.model_copy(
        update={
            "id": new_id(created_at),
            "project": project,
            "name": judged.own.name,
            "labels": judged.own.labels,
            "reason": Reason.WAITING_FOR_WORKER if warnings else None,
            "max_retries": judged.resources.max_retries,
            "priority": judged.resources.priority,
            "device": device,
            "warnings": (*judged.warnings, *warnings),
            "created_at": created_at,
            "notify": tuple(Endpoint(url=each.url, events=each.events) for each in judged.own.notify),
            "spec": with_hidden(body),
            "resolved_spec": dict(judged.resolved_spec) if judged.resolved_spec is not None else None,
            "estimate": estimate,
        }
    )


def _placed(wanted: str, gpus: int, *, live: Collection[Device], job_gpus: int) -> tuple[Device, list[SpecWarning]]:
    """The class a job runs in, and a warning where nobody can run it now: `job_gpus` is the most that a live worker has for a job."""
    device: Device = "gpu" if wanted == "gpu" or (wanted == "auto" and ("gpu" in live or gpus > 1)) else "cpu"
    if device not in live:
        return device, [_no_worker(device)]
    if device == "gpu" and gpus > job_gpus:
        return device, [_too_few_gpus(gpus, job_gpus)]
    return device, []


@cache
def _no_worker(device: Device) -> SpecWarning:
    detail = f"No {device} worker is running now; the job waits for one."
    return SpecWarning(pointer="/resources/device", code=NO_WORKER, detail=detail, suggestion=f"trainyard worker --device {device}")


@cache
def _too_few_gpus(gpus: int, job_gpus: int) -> SpecWarning:
    detail = f"No worker that is running now can give a job {gpus} GPUs, the most is {job_gpus}; the job waits for one."
    cure = f"A worker on a machine with {gpus} GPUs, or resources.gpus: {job_gpus}."
    return SpecWarning(pointer="/resources/gpus", code=NO_WORKER, detail=detail, suggestion=cure)


def retry(project: str, job_id: str, *, services: Services) -> Submitted:
    """A new job from a failed or cancelled one, which starts from its last checkpoint; while that one lives, it is the answer again.

    Raises JobNotFound, IllegalTransition.
    """
    source = services.jobs.find(project, job_id)
    if source.state not in (JobState.FAILED, JobState.CANCELLED):
        raise IllegalTransition(job_id, state=source.state, wanted="retried")
    job, covered = _again(source, services=services), source.checkpoint.step if source.checkpoint else -1
    rows = [row for row in metrics(source, services=services) if row["step"] <= covered]
    logged = steps(source, services=services).up_to(covered)
    submitted = services.jobs.submit(job, idempotency=None, rows=rows, steps=logged)
    services.ring()
    return submitted


def _again(source: Job, *, services: Services) -> Job:
    workers = services.workers.workers()
    device, warnings = _placed(
        source.spec.get("resources", {}).get("device", "auto"),
        source.gpus,
        live={worker.device for worker in workers},
        job_gpus=max((worker.job_gpus for worker in workers if worker.device == "gpu"), default=0),
    )
    now = services.now()
    return Job(
        id=new_id(now),
        created_at=now,
        retry_of=source.id,
        reason=Reason.WAITING_FOR_WORKER if warnings else None,
        device=device,
        warnings=(*(each for each in source.warnings if each.code not in (NO_WORKER, NEWER_SPEC)), *warnings),
        **{name: getattr(source, name) for name in _KEPT_BY_A_RETRY},
    )


_KEPT_BY_A_RETRY = (
    *("project", "name", "labels", "max_retries", "priority", "notify", "spec", "resolved_spec", "estimate"),
    *("dataset_digest", "progress", "checkpoints", "token", "exactness"),
)
