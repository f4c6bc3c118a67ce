"""Who is told of a job: whether their URLs may be used, what was sent, and sending it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from service.spec.fixes import removing
from service.spec.job import Own
from service.spec.notify import Notify, is_hidden
from service.spec.verdict import Fault, SpecWarning
from service.use_cases.services import Services
from service.webhooks.delivery import Delivery
from service.webhooks.ports import Looked, Secret


def looked_at(body: Mapping[str, Any], *, services: Services) -> tuple[Sequence[Fault], Sequence[SpecWarning]]:
    """What is wrong with where a spec's webhooks lead, and what looks wrong. Names are resolved: not for an event loop."""
    if not body.get("notify"):
        return (), ()
    if services.reach is None:
        detail = "No webhooks are sent from here."
        cure = "Leave notify out; poll the job, or follow its events. Of a service, TRAINYARD_WEBHOOKS=true switches them on."
        return [Fault(pointer="/notify", code="webhooks_off", detail=detail, suggestion=cure, fix=removing("/notify"))], ()
    try:
        endpoints = Own.model_validate({"notify": body["notify"]}).notify
    except ValidationError:  # who reads the whole spec says what is wrong
        return (), ()
    known = [at for at, endpoint in enumerate(endpoints) if not is_hidden(endpoint.url)]
    seen = dict(zip(known, services.reach.look([endpoints[at].url for at in known]), strict=True))
    faults = [_fault(at, endpoint, seen.get(at)) for at, endpoint in enumerate(endpoints)]
    return [fault for fault in faults if fault is not None], [_unresolved(at) for at, looked in seen.items() if not looked.resolved]


def _fault(at: int, endpoint: Notify, looked: Looked | None) -> Fault | None:
    pointer = f"/notify/{at}/url"
    if looked is None:
        detail = f"The path of {endpoint.url} was hidden when it was shown."
        return Fault(pointer=pointer, code="hidden_url", detail=detail, suggestion="Write it whole, or leave the endpoint out.")
    if looked.refusal is None:
        return None
    detail, cure = (
        f"No webhook is sent there: {looked.refusal}.",
        "Give a public https:// URL; the operator may allow more by TRAINYARD_WEBHOOK_ALLOW.",
    )
    return Fault(pointer=pointer, code="closed_address", detail=detail, suggestion=cure)


def _unresolved(at: int) -> SpecWarning:
    detail = "This host's name has no address now; it is looked up again when there is something to tell."
    return SpecWarning(pointer=f"/notify/{at}/url", code="unresolved_host", detail=detail, suggestion="Check its spelling.")


def deliveries(project: str, job_id: str, *, services: Services) -> Sequence[Delivery]:
    """What was and is to be told of a job, oldest first. Raises JobNotFound."""
    return services.outbox.of(project, job_id)


def replay(project: str, job_id: str, delivery_id: str, *, services: Services) -> Delivery:
    """Send it again, now, under the same id. Raises JobNotFound, DeliveryNotFound."""
    delivery = services.outbox.replay(project, job_id, delivery_id)
    services.tell()
    return delivery


def secret(project: str, *, services: Services) -> Secret:
    """What the project's webhooks are signed with; made when it is first asked for."""
    return services.secrets.of(project)


def rotate_secret(project: str, *, services: Services) -> Secret:
    """A new one; the old one signs beside it for a day."""
    return services.secrets.rotate(project)
