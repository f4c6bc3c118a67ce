"""`trainyard up`, `demo`, `api`, `worker`, `secrets`: the service's own processes."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from service import local
from service import secrets as parts
from service.client.cli.app import Panel, app, command, hint, note
from service.client.cli.files import read_spec
from service.client.cli.following import ENDS, explain_end, followed
from service.client.cli.printing import err, out, show_json
from service.client.cli.session import said
from service.client.sdk import Client
from service.spec import EXAMPLES


@command(app, "trainyard up", "trainyard up --port 9000 --workers 2 --data-dir ~/trainyard", panel=Panel.HERE, shared=("quiet",))
def up(
    port: Annotated[int, typer.Option(help="Where the API listens, on 127.0.0.1.")] = 8000,
    data_dir: Annotated[Path, typer.Option(help="Where jobs and files are kept.")] = Path("trainyard-data"),
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
    slots: Annotated[int, typer.Option(min=1, help="Jobs at once in each worker.")] = 1,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of a job that names none; part of its numbers.", show_default="the cores")
    ] = None,
) -> None:
    """Serve on this machine: Valkey, S3, the API and CPU workers, no Docker. Ctrl-C stops everything."""
    stopping = _stop_signal()
    with local.running(local.Plan(data_dir=data_dir.resolve(), port=port, workers=workers, slots=slots, threads=threads)) as running:
        note(f"Trainyard serves at {running.url} with {workers} worker(s). Ctrl-C stops it.")
        running.watch(stopping)
    note("Stopped.")


@command(app, "trainyard demo", "trainyard demo -o my-first-model", panel=Panel.HERE, shared=("quiet", "as_json"))
def demo(output: Annotated[Path, typer.Option("--output", "-o", help="Where the artifacts go.")] = Path("trainyard-demo")) -> None:
    """Start everything, train an example, bring its model home, stop everything."""
    _stop_signal(interrupt=True)
    example = EXAMPLES / "digits-mlp.yaml"
    with tempfile.TemporaryDirectory(prefix="trainyard-demo-") as folder:
        note("Starting Valkey, S3, the API and a worker ...")
        with local.running(local.Plan(data_dir=Path(folder), port=local.free_port())) as running, Client(running.url) as client:
            job: Mapping[str, Any] = client.submit(read_spec(example))
            note(f"Submitted {example.name} as {job['id']}.")
            job = followed(client, job["id"])
            explain_end(job)
            if job["state"] == "succeeded":
                target = output.resolve() / job["id"]
                client.download(job["id"], target)
                if said.as_json:
                    show_json({"job": job, "folder": str(target)})
                else:
                    out.print(f"test accuracy {job['metrics']['test_accuracy']:.4f}")
                    out.print(f"artifacts in {target}")
                hint(("Train your own", "trainyard init && trainyard run job.yaml"))
    raise typer.Exit(ENDS[job["state"]])


@command(app, "TRAINYARD_PORT=9000 trainyard api", panel=Panel.HERE, shared=())
def api() -> None:
    """The API process alone, told by its environment (see README)."""
    os.execv(sys.executable, [sys.executable, "-m", "service.main"])


@command(
    app,
    "trainyard worker --device cpu --slots 2",
    panel=Panel.HERE,
    shared=(),
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def worker(context: typer.Context) -> None:
    """A worker process alone: --device cpu|gpu --slots N; told where by its environment (see README)."""
    os.execv(sys.executable, [sys.executable, "-m", "worker.main", *context.args])


@command(app, "trainyard secrets ./secrets", panel=Panel.HERE, shared=("quiet", "as_json"))
def secrets(
    folder: Annotated[Path, typer.Argument(help="Where they are kept, a folder for each part.", metavar="FOLDER", show_default=False)],
) -> None:
    """Make the secrets that the containers' parts need; those that are there stay. Prints the API key where it is a new one."""
    try:
        made = parts.make(folder)
    except parts.SecretsFault as error:
        err.print(f"trainyard secrets: {error}", soft_wrap=True)
        raise typer.Exit(1) from error
    key = parts.api_key(folder) if "api_key" in made else None
    if said.as_json:
        show_json({"folder": str(folder), "made": sorted(made), "api_key": key})
    elif key is not None:
        note(f"The API key, which is not shown again (it is kept in {folder / 'api' / 'api_key'}):")
        out.print(key, soft_wrap=True)
    note(f"Made: {', '.join(sorted(made))}." if made else f"Everything is in {folder} already.")


def _stop_signal(*, interrupt: bool = False) -> threading.Event:
    """An event that SIGINT and SIGTERM set, or, where asked, an interrupt that both raise."""
    stopping = threading.Event()

    def stop(*_: object) -> None:
        if interrupt:
            raise KeyboardInterrupt
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    if not interrupt:
        signal.signal(signal.SIGINT, stop)
    return stopping
