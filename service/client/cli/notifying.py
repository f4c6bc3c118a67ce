"""`trainyard deliveries`, `replay`, `secret`: the webhooks of a job, and what receivers check them by."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from service.client.cli.acting import confirm
from service.client.cli.app import JobId, Panel, app, command, hint
from service.client.cli.printing import show_json, show_table
from service.client.cli.session import connect, said
from service.client.words import ago

DeliveryId = Annotated[str, typer.Argument(help="The delivery's id.", metavar="DELIVERY", show_default=False)]


@command(app, "trainyard deliveries job_019...", panel=Panel.SERVICE)
def deliveries(job_id: JobId) -> None:
    """The webhooks of a job, oldest first, and how sending them went."""
    with connect() as client:
        found = client.deliveries(job_id)
    if said.as_json:
        show_json(found)
        return
    rows = [(each["id"], each["type"], each["url"], each["state"], len(each["attempts"]), _last(each)) for each in found]
    show_table(("id", "event", "to", "state", "attempts", "at last"), rows, right=["attempts"], give=["to"])
    failed = next((each["id"] for each in found if each["state"] == "failed"), None)
    if failed:
        hint(("Send it again", f"trainyard replay {job_id} {failed}"))
    if not found:
        hint("There are none: the job's spec has no `notify`, or nothing of it has happened yet.")


def _last(delivery: dict[str, Any]) -> str:
    """What came of the last attempt."""
    if not delivery["attempts"]:
        return delivery["reason"] or "not sent yet"
    attempt = delivery["attempts"][-1]
    return f"{attempt['error'] or attempt['status']}, {ago(attempt['at'])}"


@command(app, "trainyard replay job_019... msg_4f1c...", panel=Panel.SERVICE)
def replay(job_id: JobId, delivery_id: DeliveryId) -> None:
    """Send a webhook again now, whatever came of it, under the same id."""
    with connect() as client:
        delivery = client.replay(job_id, delivery_id)
    show_json(delivery) if said.as_json else print(f"{delivery['id']} {delivery['state']}")
    hint(("See what comes of it", f"trainyard deliveries {job_id}"))


@command(app, "trainyard secret", "trainyard secret --rotate", panel=Panel.SERVICE)
def secret(
    rotate: Annotated[bool, typer.Option("--rotate", help="Make a new one; the old one signs beside it for a day.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """The secret that your project's webhooks are signed with. Receivers check by it (Standard Webhooks)."""
    if rotate:
        confirm("Make a new secret? Receivers need it within a day.", yes=yes)
    with connect() as client:
        found = client.webhook_secret(rotate=rotate)
    show_json(found) if said.as_json else print(found["secret"])
    if found["previous"]:
        hint(f"The previous one signs, too, until {found['previous_until']}.")
