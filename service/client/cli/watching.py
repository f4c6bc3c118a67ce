"""`trainyard ls`, `get`, `wait`, `watch`, `events`, `logs`, `queue`, `workers`, `open`: how things stand."""

from __future__ import annotations

import os
import time
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from threading import Event
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from service.client.cli.app import JobId, JobIds, Panel, app, command, hint
from service.client.cli.completing import job_ids
from service.client.cli.following import ENDS, followed
from service.client.cli.printing import (
    aligned,
    err,
    json_line,
    latest,
    newest_short,
    out,
    paragraph,
    progress_of,
    show_json,
    show_table,
    show_text,
    summary,
)
from service.client.cli.printing import state as coloured
from service.client.cli.session import connect, said
from service.client.sdk import Client
from service.client.words import ago, duration, moment, size, until

Tail = Annotated[int | None, typer.Option("--tail", min=1, help="Only the last lines.", show_default=False)]
JOBS = ("id", "name", "state", "epoch", "latest", "when")
LIVING = ("running", "queued", "paused")
WATCH_SECONDS = 1.0


@command(
    app, "trainyard ls", "trainyard ls --state failed --limit 100", "trainyard ls --label course=intro --json", name="ls", panel=Panel.WATCH
)
def list_jobs(
    state: Annotated[
        str | None, typer.Option(help="Only those: queued, running, paused, succeeded, failed, cancelled.", show_default=False)
    ] = None,
    name: Annotated[str | None, typer.Option(help="Only those of this name.", show_default=False)] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="Only those with it; may be said again.", metavar="KEY=VALUE", show_default=False)
    ] = None,
    search: Annotated[str | None, typer.Option("--search", help="Only those with this text in them.", show_default=False)] = None,
    sort: Annotated[
        str | None, typer.Option("--sort", help="By created_at, name, state or a metric; - before it turns the order.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many.")] = 20,
) -> None:
    """The newest jobs. With -q only their ids."""
    with connect() as client:
        labels = [each.replace("=", ":", 1) for each in label or ()] or None
        page = client.page(state=state, name=name, label=labels, q=search, sort=sort, limit=limit)
    if said.as_json:
        show_json(page)
    elif said.quiet:
        for job in page["data"]:
            print(job["id"])
    else:
        show_table(JOBS, map(_row, page["data"]), right=["epoch"], give=["latest", "name"])
        if not page["data"]:
            hint("There are none.", ("Submit one", "trainyard submit job.yaml"))
        elif page["next_cursor"]:
            hint(("More of them", f"trainyard ls --limit {min(200, 2 * limit)}"))


def _row(job: Mapping[str, Any]) -> tuple[Any, ...]:
    return job["id"], job["name"] or "", coloured(job["state"]), progress_of(job), newest_short(job["metrics"]), _when(job)


def _when(job: Mapping[str, Any]) -> str:
    """What matters of time: how long it still takes, where it stands, when it ended."""
    if job["state"] == "running" and job["progress"].get("eta_seconds"):
        return f"{duration(job['progress']['eta_seconds'])} left"
    if job.get("queue_position"):
        return f"place {job['queue_position']}"
    return ago(job.get("finished_at") or job.get("started_at") or job.get("created_at"))


@command(app, "trainyard get job_019...", "trainyard get job_019... --json", panel=Panel.WATCH)
def get(job_id: JobId) -> None:
    """One job in a line."""
    with connect() as client:
        job = client.get(job_id)
    show_json(job) if said.as_json else paragraph(summary(job))


@command(app, "trainyard wait job_019... && trainyard download job_019...", "trainyard wait job_a job_b --timeout 600", panel=Panel.WATCH)
def wait(
    job_ids: JobIds,
    timeout: Annotated[float | None, typer.Option(help="Seconds for all of them together; exit 7 after that.", show_default=False)] = None,
) -> None:
    """Block until every job has ended; exit 0 only if all succeeded. --json prints the job, or a list where several are named."""
    with connect() as client:
        try:
            jobs = _ended(client, job_ids, timeout)
        except TimeoutError as error:
            err.print(f"trainyard: {error}")
            raise typer.Exit(7) from error
    if said.as_json:
        show_json(jobs if len(jobs) > 1 else jobs[0])
    else:
        show_text("\n".join(map(summary, jobs)))
    raise typer.Exit(max(ENDS[job["state"]] for job in jobs))


def _ended(client: Client, job_ids: Sequence[str], timeout: float | None) -> list[Mapping[str, Any]]:
    deadline = None if timeout is None else time.monotonic() + timeout
    return [client.wait(each, timeout=None if deadline is None else max(0.0, deadline - time.monotonic())) for each in job_ids]


@command(app, "trainyard watch", "trainyard watch job_019...", panel=Panel.WATCH)
def watch(
    job_id: Annotated[str | None, typer.Argument(help="Only this job.", metavar="[ID]", show_default=False, autocompletion=job_ids)] = None,
) -> None:
    """One job until it has ended; or a live table of all that run and wait, until none is left or Ctrl-C. Lines off a terminal; --json a line for each change."""
    with connect() as client:
        if job_id is None:
            _watch_all(client)
        elif said.as_json:
            for event in client.events(job_id):
                json_line(event)
            raise typer.Exit(ENDS[client.get(job_id)["state"]])
        else:
            job = followed(client, job_id)
            show_text(summary(job))
            raise typer.Exit(ENDS[job["state"]])


def _watch_all(client: Client) -> None:
    if out.is_terminal and not said.as_json:
        with Live(console=Console(), auto_refresh=False, transient=True) as live:
            for jobs in _living(client):
                live.update(_table(jobs) if jobs else "", refresh=True)
        hint("Nothing runs or waits any more.", ("What there was", "trainyard ls"))
        return
    told: dict[str, str] = {}
    for jobs in _living(client):
        for job in jobs:
            line = f"{job['id']} {job['name'] or ''} {job['state']} {progress_of(job)} {latest(job['metrics'])}".rstrip()
            if told.get(job["id"]) != line:
                told[job["id"]] = line
                json_line(job) if said.as_json else print(line, flush=True)


def _living(client: Client) -> Iterator[list[Mapping[str, Any]]]:
    """The jobs that run, wait or are paused, running ones first, once a second while any runs or waits; those that ended since are shown once more."""
    seen: dict[str, Mapping[str, Any]] = {}
    while True:
        jobs = sorted(
            client.page(state=list(LIVING), limit=200)["data"], key=lambda job: (LIVING.index(job["state"]), job.get("queue_position") or 0)
        )
        now = {job["id"] for job in jobs}
        yield jobs + [client.get(each) for each in seen if each not in now]
        if not any(job["state"] in ("running", "queued") for job in jobs):
            return
        seen = {job["id"]: job for job in jobs}
        Event().wait(WATCH_SECONDS)


def _table(jobs: Sequence[Mapping[str, Any]]) -> Table:
    shown = jobs[: max(1, out.height - 3)]
    return aligned(JOBS, map(_row, shown), right=["epoch"], give=["latest", "name"], width=out.width)


@command(app, "trainyard events job_019...", "trainyard events job_019... --follow --json", panel=Panel.WATCH)
def events(job_id: JobId, follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False) -> None:
    """What happened to a job, oldest first. --json prints a line for each event."""
    with connect() as client:
        if follow and not said.as_json:
            raise typer.Exit(ENDS[followed(client, job_id)["state"]])
        for event in client.events(job_id) if follow else _past(client, job_id):
            if said.as_json:
                json_line(event)
            else:
                _tell(event)
        if follow:
            raise typer.Exit(ENDS[client.get(job_id)["state"]])


def _tell(event: Mapping[str, Any]) -> None:
    """On a terminal by the clock of whoever looks; elsewhere with the whole time and the type, to be sorted and searched."""
    what = event["message"] or event["data"].get("phase") or event["data"].get("state", "")
    if out.is_terminal:
        out.print(f"{moment(event['at']).astimezone():%H:%M:%S}  {what}", soft_wrap=False)
    else:
        print(f"{event['at']} {event['type']} {what}", flush=True)


def _past(client: Client, job_id: str) -> Iterator[Mapping[str, Any]]:
    after = 0
    while True:
        page = client.past_events(job_id, after=after)
        if not page:
            return
        yield from page
        after = page[-1]["id"]


@command(app, "trainyard logs job_019...", "trainyard logs job_019... --tail 20", panel=Panel.WATCH)
def logs(job_id: JobId, tail: Tail = None) -> None:
    """A job's log. --json prints a list of its lines."""
    with connect() as client:
        text = client.logs(job_id, tail=tail)
    show_json(text.splitlines()) if said.as_json else show_text(text, end="")


@command(app, "trainyard queue", panel=Panel.WATCH)
def queue() -> None:
    """What waits, in its order, and when each is expected to start; and the slots that could take it."""
    with connect() as client:
        classes = client.queue()
    if said.as_json:
        show_json(classes)
        return
    rows = [
        (each["device"], job["position"], job["id"], job["name"] or "", job["priority"], ago(job["created_at"]), _starts(job))
        for each in classes
        for job in each["jobs"]
    ]
    if rows:
        show_table(("device", "place", "id", "name", "priority", "since", "starts"), rows, right=["place", "priority"], give=["name"])
    hint(
        *(
            f"{each['device']}: {each['waiting']} wait, {each['running']} run, {each['idle']} of {each['slots']} slots idle"
            for each in classes
        )
    )


def _starts(job: Mapping[str, Any]) -> str:
    return until(job["estimated_start_at"]) if job["estimated_start_at"] else ""


@command(app, "trainyard workers", panel=Panel.SERVICE)
def workers() -> None:
    """Who works: device, memory, what each is busy with, what it ended last."""
    with connect() as client:
        found = client.workers()
    if said.as_json:
        show_json(found)
        return
    columns = ("worker", "device", "memory", "busy", "torch", "jobs", "last ended")
    show_table(columns, map(_worker, found), right=["memory", "busy"], give=["last ended", "worker"])
    if not found:
        hint("There are none.", ("Start one", "trainyard worker --device cpu"))


def _worker(each: Mapping[str, Any]) -> tuple[Any, ...]:
    memory = size(each["memory_bytes"]) if each.get("memory_bytes") else ""
    ended = next((f"{job['name'] or job['id']} {job['state']}, {ago(job['ended'])}" for job in each.get("history", ()) if job["ended"]), "")
    return (
        each["name"],
        each["device"],
        memory,
        f"{each['busy']}/{each['slots']}",
        each["versions"].get("torch", ""),
        ", ".join(each["jobs"]),
        ended,
    )


@command(app, "trainyard open job_019...", "trainyard open", name="open", panel=Panel.WATCH)
def open_page(
    job_id: Annotated[
        str | None,
        typer.Argument(help="The job's id; without one, the list of jobs.", metavar="[ID]", show_default=False, autocompletion=job_ids),
    ] = None,
) -> None:
    """A job's page in the browser; its address where there is no browser."""
    with connect() as client:
        url = client.url + (f"/jobs/{client.get(job_id)['id']}" if job_id else "/")
    if said.as_json:
        show_json({"url": url})
    elif not _opened(url):
        print(url)


def _opened(url: str) -> bool:
    """Whether a browser of this machine was asked: on a server there is none, and one in the terminal could not show the page."""
    if not (os.environ.get("BROWSER") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    try:
        return webbrowser.open(url)
    except webbrowser.Error:
        return False
