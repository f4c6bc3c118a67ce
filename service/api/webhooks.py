"""The endpoints of webhooks: what was sent of a job and how that went, sending it again, and the secret that receivers check by."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict

from service import use_cases
from service.api.auth import administering, reading, submitting
from service.api.parts import Name, Project, Used
from service.api.problems import responses
from service.spec.notify import hidden
from service.webhooks.delivery import Attempt, Delivery, DeliveryState
from service.webhooks.ports import Secret

router = APIRouter(prefix="/v1", responses=responses(401, 403, 422, 503))


class DeliveryView(BaseModel):
    """One event for one endpoint of a job."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    id: str
    """The webhook-id of every attempt."""
    type: str
    url: str
    """Without path and query."""
    state: DeliveryState
    reason: str | None
    """Of a failed one: why it was given up."""
    created_at: datetime
    next_attempt_at: datetime | None
    """Of a pending one."""
    attempts: tuple[Attempt, ...]
    """The last 50, oldest first; `status` is null where nobody answered."""


class DeliveryPage(BaseModel):
    """The oldest first. They go with the job, or a month after they were settled."""

    data: list[DeliveryView]


class SecretView(BaseModel):
    """What webhooks are signed with; after a rotation for a day with the previous secret, too."""

    secret: str
    previous: str | None
    previous_until: datetime | None


def delivery_view(delivery: Delivery) -> DeliveryView:
    """The delivery, as it is shown."""
    same = ("id", "state", "reason", "created_at", "next_attempt_at", "attempts")
    return DeliveryView(type=f"job.{delivery.event}", url=hidden(delivery.url), **{name: getattr(delivery, name) for name in same})


@router.get(
    "/jobs/{job_id}/deliveries", dependencies=[Depends(reading)], response_model=DeliveryPage, responses=responses(404), tags=["webhooks"]
)
def get_deliveries(job_id: Name, project: Project, services: Used) -> DeliveryPage:
    """What `notify` sent of a job or is to send, each with its attempts."""
    return DeliveryPage(data=[delivery_view(each) for each in use_cases.deliveries(project, job_id, services=services)])


@router.post(
    "/jobs/{job_id}/deliveries/{delivery_id}/replay",
    dependencies=[Depends(submitting)],
    status_code=202,
    response_model=DeliveryView,
    responses=responses(404),
    tags=["webhooks"],
)
def replay_delivery(job_id: Name, delivery_id: Name, project: Project, services: Used) -> DeliveryView:
    """Send it again now, whatever came of it, under the same webhook-id. Repeating is harmless."""
    return delivery_view(use_cases.replay(project, job_id, delivery_id, services=services))


@router.get("/webhooks/secret", dependencies=[Depends(administering)], response_model=SecretView, tags=["webhooks"])
def get_webhook_secret(project: Project, services: Used) -> SecretView:
    """The secret that the project's webhooks are signed with, for receivers to check by. It is made when it is first asked for."""
    return _secret_view(use_cases.secret(project, services=services))


@router.post("/webhooks/secret/rotate", dependencies=[Depends(administering)], response_model=SecretView, tags=["webhooks"])
def rotate_webhook_secret(project: Project, services: Used) -> SecretView:
    """A new secret. For a day the old one signs beside it: give receivers the new one meanwhile."""
    return _secret_view(use_cases.rotate_secret(project, services=services))


def _secret_view(secret: Secret) -> SecretView:
    return SecretView(secret=secret.current, previous=secret.previous, previous_until=secret.previous_until)
