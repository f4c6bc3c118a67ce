"""Follows a job: a progress bar on a terminal, a line per epoch elsewhere. Writes to stderr; results go to stdout, by the caller."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.client.sdk import Client, Job


def follow(client: Client, job_id: str, *, console: Console) -> Job:
    """Show what happens until the job has ended; returns it."""
    if console.is_terminal:
        _bar(client, job_id, console)
    else:
        for event in client.events(job_id):
            console.print(_line(event), highlight=False, soft_wrap=True)
    return client.get(job_id)


def _bar(client: Client, job_id: str, console: Console) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("epochs"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[numbers]}"),
    )
    with Progress(*columns, console=console) as bar:
        job = client.get(job_id)
        task = bar.add_task(job["state"], total=job["spec"]["epochs"], numbers="")
        for event in client.events(job_id):
            if event["type"] == "state":
                bar.update(task, description=event["data"].get("phase") or event["data"]["state"])
            elif event["type"] == "epoch":
                bar.update(task, advance=1, numbers=_numbers(event["data"]))


def _numbers(metrics: dict[str, Any]) -> str:
    shown = ("train_loss", "val_loss", "val_accuracy", "train_accuracy")
    return " ".join(f"{name} {metrics[name]:.4f}" for name in shown if name in metrics)


def _line(event: dict[str, Any]) -> str:
    if event["type"] == "state":
        return str(event["data"].get("phase") or event["data"]["state"])
    return str(event["message"] or event["type"])
