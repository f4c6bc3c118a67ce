"""Shows a job while it runs: a bar and its curve on a terminal, a line for each event elsewhere. Writes to one console, which is no place for results."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from service.client.errors import ClientError
from service.client.sdk import Client
from service.client.words import blocks_of, duration, spark

SHOWN = ("train_loss", "val_loss", "val_accuracy", "train_accuracy")
LOOK_SECONDS = 1.0
"""How often progress is asked for between events."""


class Display(Protocol):
    """What hears of a job."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(self, *_: object) -> None:
        """Stop."""

    def heard(self, event: Mapping[str, Any]) -> None:
        """One event."""

    def moved(self, progress: Mapping[str, Any]) -> None:
        """How far it is."""


def display(console: Console, *, epochs: int) -> Display:
    """What suits the console: nothing is animated off a terminal."""
    return _Bar(console, epochs) if console.is_terminal else _Lines(console)


def follow(client: Client, job_id: str, *, console: Console) -> Mapping[str, Any]:
    """Show what happens until the job has ended; returns it."""
    job = client.get(job_id)
    with display(console, epochs=job["spec"]["epochs"]) as shown, _looking(lambda: shown.moved(client.get(job_id)["progress"]), console):
        shown.moved(job["progress"])
        show(client.events(job_id), shown)
    return client.get(job_id)


def show(events: Iterable[Mapping[str, Any]], shown: Display) -> None:
    """Pass on what happens, to the last event."""
    for event in events:
        shown.heard(event)


@contextmanager
def _looking(look: Callable[[], None], console: Console) -> Iterator[None]:
    """Look now and then, on a terminal, while the block lasts; the stream of events is the one to say that the service is gone."""
    over = threading.Event()

    def again() -> None:
        while not over.wait(LOOK_SECONDS):
            try:
                look()
            except ClientError:
                continue

    thread = threading.Thread(target=again, name="progress", daemon=True)
    if console.is_terminal:
        thread.start()
    try:
        yield
    finally:
        over.set()


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def heard(self, event: Mapping[str, Any]) -> None:
        self._console.print(line_of(event), highlight=False, soft_wrap=True)

    def moved(self, progress: Mapping[str, Any]) -> None:
        """Only a bar shows it."""


def line_of(event: Mapping[str, Any]) -> str:
    """What happened, in a line."""
    if event["type"] == "state":
        return str(event["data"].get("phase") or event["data"]["state"])
    return str(event["message"] or event["type"])


class _Bar:
    """The phase, a bar, the epoch and the time left; below it the newest numbers and the curve of the loss so far."""

    def __init__(self, console: Console, epochs: int) -> None:
        columns = (
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[where]}"),
        )
        self._progress = Progress(*columns, console=console, expand=True)
        self._task = self._progress.add_task("queued", total=100, where="")
        self._numbers, self._epochs = Text(""), epochs
        self._losses: list[float] = []
        self._live = Live(console=console, get_renderable=self._shown, refresh_per_second=8)

    def _shown(self) -> Group:
        return Group(self._progress, self._numbers) if self._numbers.plain else Group(self._progress)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.__exit__(None, None, None)

    def heard(self, event: Mapping[str, Any]) -> None:
        if event["type"] == "state":
            phase, state = event["data"].get("phase"), event["data"]["state"]
            self._progress.update(self._task, description=phase or state)
            if state == "succeeded":
                self._progress.update(self._task, completed=100)
        elif event["type"] == "epoch":
            self._epoch(event["data"], event.get("message") or "")
        elif event["type"] in ("warning", "storage", "changed", "inexact"):
            self._live.console.print(f"{event['type']}: {event['message']}", highlight=False)

    def _epoch(self, metrics: Mapping[str, Any], message: str) -> None:
        loss = metrics.get("val_loss", metrics.get("train_loss"))
        if loss is not None:
            self._losses.append(loss)
        numbers = "  ".join(f"{name} {metrics[name]:.4f}" for name in SHOWN[:3] if name in metrics)
        self._numbers = Text(
            f"{numbers}  {spark(self._losses, width=16, blocks=blocks_of(self._live.console.encoding))}", no_wrap=True, overflow="ellipsis"
        )
        number = message.removeprefix("epoch ").partition(":")[0].partition("/")[0]
        if number.isdecimal():
            self._at(int(number), None)

    def moved(self, progress: Mapping[str, Any]) -> None:
        if progress.get("steps"):
            self._progress.update(self._task, completed=progress["percent"])
            self._at(progress["epoch"], progress.get("eta_seconds"))

    def _at(self, epoch: int, seconds: float | None) -> None:
        left = f"  {duration(seconds)} left" if seconds else ""
        self._progress.update(self._task, where=f"epoch {epoch}/{self._epochs}{left}")
