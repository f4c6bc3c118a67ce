"""The `trainyard` command. Data to stdout, messages to stderr.

Exit codes: 0 ok, 1 job failed, 2 usage, 3 spec rejected, 4 not found, 5 service unreachable, 6 cancelled, 7 wait timed out, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from service import local
from service.client import datasets
from service.client.doctor import examine
from service.client.errors import ClientError, Rejected
from service.client.evaluating import evaluation_of
from service.client.follow import follow as follow_job
from service.client.sdk import Client, Job
from service.spec.text import parse_body
from service.spec.verdict import SpecFaults

app = typer.Typer(
    no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False, help="Self-hosted training: submit, follow, download."
)
app.add_typer(datasets.app, name="datasets")
err = Console(stderr=True, soft_wrap=True, markup=False)
out = Console(soft_wrap=True, markup=False)

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
JobId = Annotated[str, typer.Argument(help="The job's id.")]
ENDS = {"succeeded": 0, "failed": 1, "cancelled": 6}
EXAMPLE = Path(__file__).parent.parent / "spec" / "examples" / "digits-mlp.yaml"


@app.command()
def up(
    port: int = 8000,
    data_dir: Path = Path("trainyard-data"),
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 1,
    slots: Annotated[int, typer.Option(min=1, help="Jobs at once in each worker.")] = 1,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of a job that names none; part of its numbers.")] = None,
) -> None:
    """Serve on this machine: Valkey, S3, the API and CPU workers, no Docker. Ctrl-C stops everything."""
    stopping = _stop_signal()
    with local.running(local.Plan(data_dir=data_dir.resolve(), port=port, workers=workers, slots=slots, threads=threads)) as running:
        err.print(f"Trainyard serves at {running.url} with {workers} worker(s). Ctrl-C stops it.", highlight=False)
        running.watch(stopping)
    err.print("Stopped.")


@app.command()
def demo(output: Annotated[Path, typer.Option("--output", "-o", help="Where the artifacts go.")] = Path("trainyard-demo")) -> None:
    """Start everything, train an example, bring its model home, stop everything."""
    _stop_signal(interrupt=True)
    with tempfile.TemporaryDirectory(prefix="trainyard-demo-") as folder:
        err.print("Starting Valkey, S3, the API and a worker ...")
        with local.running(local.Plan(data_dir=Path(folder), port=local.free_port())) as running, Client(running.url) as client:
            job = client.submit(read_spec(EXAMPLE))
            err.print(f"Submitted {EXAMPLE.name} as {job['id']}.", highlight=False)
            job = follow_job(client, job["id"], console=err)
            _explain_end(job)
            if job["state"] == "succeeded":
                target = output.resolve() / job["id"]
                client.download(job["id"], target)
                out.print(f"test accuracy {job['metrics']['test_accuracy']:.4f}", highlight=False)
                out.print(f"artifacts in {target}", highlight=False)
    raise typer.Exit(ENDS[job["state"]])


@app.command()
def api() -> None:
    """The API process alone, told by its environment (see README)."""
    os.execv(sys.executable, [sys.executable, "-m", "service.main"])


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def worker(context: typer.Context) -> None:
    """A worker process alone: --device cpu|gpu --slots N."""
    os.execv(sys.executable, [sys.executable, "-m", "worker.main", *context.args])


@app.command()
def submit(
    file: Annotated[Path, typer.Argument(help="A job spec, YAML or JSON.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Watch until it has ended.")] = False,
    set: Annotated[list[str] | None, typer.Option("--set", help="Change a value, for example optimizer.lr=0.01.")] = None,
    name: str | None = None,
    as_json: JsonFlag = False,
) -> None:
    """Check a job spec and queue it."""
    spec = _changed(read_spec(file), set or ()) | ({"name": name} if name else {})
    with Client() as client:
        job = client.submit(spec)
        for warning in job["warnings"]:
            err.print(f"warning: {warning['pointer']} {warning['detail']} {warning['suggestion'] or ''}", highlight=False)
        if not follow:
            _show(job, as_json=as_json, text=job["id"])
            err.print(f"Watch it with: trainyard events {job['id']} -f", highlight=False)
            return
        job = _followed(client, job["id"])
        _show(job, as_json=as_json, text=_summary(job))
    raise typer.Exit(ENDS[job["state"]])


@app.command()
def validate(file: Annotated[Path, typer.Argument(help="A job spec, YAML or JSON.")], as_json: JsonFlag = False) -> None:
    """Check a job spec without queueing it: every fault, or the layer table."""
    with Client() as client:
        verdict = client.validate(read_spec(file))
    if as_json:
        out.print_json(json.dumps(verdict))
    elif verdict["valid"]:
        table = Table("path", "layer", "output shape", "parameters")
        for layer in verdict["layers"]:
            table.add_row(layer["path"], layer["type"], str(layer["output_shape"]), f"{layer['num_parameters']:,}")
        out.print(table)
        out.print(f"{verdict['num_parameters']:,} parameters" if verdict["num_parameters"] is not None else "sizes not checked")
    for warning in verdict["warnings"]:
        err.print(f"warning: {warning['pointer']} {warning['detail']} {warning['suggestion'] or ''}", highlight=False)
    if not verdict["valid"]:
        _print_faults(verdict["errors"])
        raise typer.Exit(Rejected.exit_code)


@app.command("ls")
def list_jobs(
    state: str | None = None, name: str | None = None, limit: Annotated[int, typer.Option(min=1, max=200)] = 20, as_json: JsonFlag = False
) -> None:
    """The newest jobs."""
    with Client() as client:
        page = client.page(state=state, name=name, limit=limit)
    if as_json:
        out.print_json(json.dumps(page))
        return
    table = Table("id", "name", "state", "epoch", "latest")
    for job in page["data"]:
        progress = job["progress"]
        table.add_row(job["id"], job["name"] or "", job["state"], f"{progress['epoch']}/{job['spec']['epochs']}", _latest(job["metrics"]))
    out.print(table)


@app.command()
def get(job_id: JobId, as_json: JsonFlag = False) -> None:
    """One job."""
    with Client() as client:
        job = client.get(job_id)
    _show(job, as_json=as_json, text=_summary(job))


@app.command()
def wait(
    job_ids: list[str],
    timeout: Annotated[float | None, typer.Option(help="Seconds for all of them together; exit 7 after that.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Block until every job has ended; exit 0 only if all succeeded. --json prints the job, or a list where several are named."""
    with Client() as client:
        try:
            jobs = _ended(client, job_ids, timeout)
        except TimeoutError as error:
            err.print(str(error), highlight=False)
            raise typer.Exit(7) from error
    if as_json:
        out.print_json(json.dumps(jobs if len(jobs) > 1 else jobs[0]))
    else:
        print(*map(_summary, jobs), sep="\n")
    raise typer.Exit(max(ENDS[job["state"]] for job in jobs))


@app.command()
def events(job_id: JobId, follow: Annotated[bool, typer.Option("--follow", "-f")] = False, as_json: JsonFlag = False) -> None:
    """What happened to a job; with -f a progress display until it has ended."""
    with Client() as client:
        if follow and not as_json:
            raise typer.Exit(ENDS[_followed(client, job_id)["state"]])
        for event in client.events(job_id) if follow else _past(client, job_id):
            line = (
                json.dumps(event)
                if as_json
                else f"{event['at']} {event['type']} {event['message'] or event['data'].get('phase') or event['data'].get('state', '')}"
            )
            print(line, flush=True)


@app.command()
def logs(job_id: JobId, tail: Annotated[int | None, typer.Option(min=1)] = None) -> None:
    """A job's log."""
    with Client() as client:
        print(client.logs(job_id, tail=tail), end="")


@app.command()
def metrics(job_id: JobId, csv: bool = False, as_json: JsonFlag = False) -> None:
    """A row per finished epoch."""
    with Client() as client:
        if csv:
            print(client.metrics_csv(job_id), end="")
            return
        rows = client.metrics(job_id)
    if as_json:
        out.print_json(json.dumps(rows))
        return
    columns = list(dict.fromkeys(name for row in rows for name in row if name != "at"))
    table = Table(*columns)
    for row in rows:
        table.add_row(*(f"{row.get(name, ''):.5g}" if isinstance(row.get(name), float) else str(row.get(name, "")) for name in columns))
    out.print(table)


@app.command()
def cancel(job_ids: list[str], as_json: JsonFlag = False) -> None:
    """Stop jobs."""
    _asked(lambda client, job_id: client.cancel(job_id), job_ids, as_json=as_json, until="cancelled", meanwhile=", stopping")


@app.command()
def pause(job_ids: list[str], as_json: JsonFlag = False) -> None:
    """Set jobs aside; running ones write a checkpoint first and free their workers."""
    _asked(lambda client, job_id: client.pause(job_id), job_ids, as_json=as_json, until="paused", meanwhile=", pausing")


@app.command()
def resume(job_ids: list[str], as_json: JsonFlag = False) -> None:
    """Let paused jobs go on where they were."""
    _asked(lambda client, job_id: client.resume(job_id), job_ids, as_json=as_json, until="queued")


@app.command()
def retry(job_id: JobId, as_json: JsonFlag = False) -> None:
    """A new job from a failed or cancelled one, from its last checkpoint."""
    with Client() as client:
        job = client.retry(job_id)
    _show(job, as_json=as_json, text=f"{job['id']} {job['state']}, a retry of {job['retry_of']}")


@app.command()
def rm(job_ids: list[str]) -> None:
    """Remove ended jobs with everything that they left."""
    with Client() as client:
        for job_id in job_ids:
            client.delete(job_id)
            print(f"{job_id} removed")


@app.command()
def rebuild() -> None:
    """Put every record back that storage kept, after Redis was lost (told by REDIS_URL and S3_ENDPOINT_URL, see README)."""
    os.execv(sys.executable, [sys.executable, "-m", "service.rebuild"])


@app.command()
def gc(dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False) -> None:
    """Remove from storage what no record names (told by REDIS_URL and S3_ENDPOINT_URL, see README)."""
    os.execv(sys.executable, [sys.executable, "-m", "service.gc", *(["--dry-run"] if dry_run else [])])


@app.command()
def storage(as_json: JsonFlag = False) -> None:
    """What your jobs and data sets take in storage."""
    with Client() as client:
        usage = client.storage()
    if as_json:
        out.print_json(json.dumps(usage))
        return
    table = Table("what", "objects", "bytes")
    for kind, each in usage.items():
        table.add_row(kind, f"{each['objects']:,}", f"{each['bytes']:,}")
    out.print(table)


@app.command()
def artifacts(job_id: JobId, as_json: JsonFlag = False) -> None:
    """The files of an ended job."""
    with Client() as client:
        files = client.artifacts(job_id)
    if as_json:
        out.print_json(json.dumps(files))
        return
    table = Table("path", "bytes", "sha256")
    for file in files:
        table.add_row(file["path"], f"{file['size']:,}", file["sha256"])
    out.print(table)


@app.command()
def download(
    job_id: JobId, output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder; default: the job's id.")] = None
) -> None:
    """Fetch every artifact, verified."""
    folder = output or Path(job_id)
    with Client() as client:
        for path in client.download(job_id, folder):
            print(path)


@app.command()
def predict(
    job_id: JobId,
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="PNG, JPEG, CSV or JSON files of samples.")],
    resize: Annotated[bool, typer.Option("--resize", help="Make images of another size fit.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Ask a trained model: a line for each sample, with the answer and how sure it is."""
    with Client() as client:
        for file in files:
            predicted = client.predict(job_id, file, resize=resize)
            if as_json:
                print(json.dumps({"file": str(file), **predicted}))
                continue
            for at in range(len(predicted["outputs"])):
                print(
                    f"{file}: {_answer(predicted, at)}"
                    if len(predicted["outputs"]) == 1
                    else f"{file}, sample {at}: {_answer(predicted, at)}"
                )


def _answer(predicted: Mapping[str, Any], at: int) -> str:
    if predicted["classes"] is None:
        return ", ".join(f"{value:.6g}" for value in predicted["outputs"][at]) if isinstance(predicted["outputs"][at], list) else "?"
    said = predicted["classes"][at]
    sure = predicted["probabilities"] and predicted["probabilities"][at]
    if isinstance(said, list):
        return ", ".join(said) or "none"
    return f"{said} ({sure[predicted['names'].index(said)]:.4f})" if sure else str(said)


@app.command()
def evaluate(
    job_id: JobId,
    dataset: Annotated[str, typer.Argument(help="The uploaded data set's name.")],
    version: Annotated[str | None, typer.Option(help="Its SHA-256, or at least eight digits of it.")] = None,
    share: Annotated[float, typer.Option(min=0, max=1, help="Of data without a test split: how much of it is looked at.")] = 1.0,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Watch until it has ended.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Queue a job that trains nothing: a trained model on another data set, with every prediction as a row of a table."""
    with Client() as client:
        job = client.submit(evaluation_of(client.get(job_id), dataset, version=version, share=share))
        if follow:
            job = _followed(client, job["id"])
    _show(job, as_json=as_json, text=_summary(job) if follow else job["id"])
    if follow:
        raise typer.Exit(ENDS[job["state"]])


@app.command()
def doctor(as_json: JsonFlag = False) -> None:
    """What this machine has, and what would help where it has not."""
    with Client() as client:
        findings = list(examine(client))
    if as_json:
        out.print_json(json.dumps([finding.__dict__ for finding in findings]))
    else:
        for finding in findings:
            out.print(
                f"{'ok ' if finding.ok else 'BAD'} {finding.name}: {finding.seen}" + ("" if finding.ok else f"\n    {finding.cure}"),
                highlight=False,
            )
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)


@app.command("version")
def show_version() -> None:
    """This command's version."""
    print(version("trainyard"))


def main() -> None:
    """Run the command; every error of ours ends in one clear message and its exit code."""
    try:
        app(standalone_mode=True)
    except ClientError as error:
        err.print(f"trainyard: {error}", highlight=False)
        _print_faults(error.faults)
        sys.exit(error.exit_code)
    except local.CannotStart as error:
        err.print(f"trainyard: {error}", highlight=False)
        sys.exit(1)
    except SpecFaults as error:
        _print_faults([fault.model_dump() for fault in error.faults])
        sys.exit(Rejected.exit_code)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        err.print(f"trainyard: {where}{error.strerror or error}", highlight=False)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def read_spec(file: Path) -> dict[str, Any]:
    """The object in a YAML or JSON file. Raises SpecFaults; a file that cannot be read is a usage error."""
    try:
        data = file.read_bytes()
    except OSError as error:
        err.print(f"trainyard: cannot read {file}: {error.strerror}", highlight=False)
        raise typer.Exit(2) from error
    return parse_body(data, "application/json" if file.suffix == ".json" else "application/yaml")


def _changed(spec: dict[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    for change in changes:
        path, equals, value = change.partition("=")
        if not equals:
            raise typer.BadParameter(f"{change!r} has no '='; write for example optimizer.lr=0.01")
        *parents, last = path.split(".")
        node: Any = spec
        for key in parents:
            node = _inner(node, key, change)
        _assign(node, last, parse_body(f"value: {value}".encode(), "application/yaml")["value"], change)
    return spec


def _inner(node: Any, key: str, change: str) -> Any:
    """The part of a spec under a key; a bare string becomes the object that it is short for, an absent or null part an empty one."""
    at = _index(node, key, change)
    inner = node[at] if isinstance(node, list) else node.get(at)
    if inner is None or isinstance(inner, str):
        inner = {} if inner is None else {"type": inner}
        node[at] = inner
    return inner


def _assign(node: Any, key: str, value: Any, change: str) -> None:
    node[_index(node, key, change)] = value


def _index(node: Any, key: str, change: str) -> Any:
    if isinstance(node, dict):
        return key
    if isinstance(node, list) and key.isdecimal() and int(key) < len(node):
        return int(key)
    raise typer.BadParameter(f"{change!r}: there is no {key!r} to change in {type(node).__name__} {node!r:.60}")


def _asked(ask: Callable[[Client, str], Job], job_ids: Sequence[str], *, as_json: bool, until: str, meanwhile: str = "") -> None:
    with Client() as client:
        for job_id in job_ids:
            job = ask(client, job_id)
            _show(job, as_json=as_json, text=f"{job['id']} {job['state']}" + ("" if job["state"] == until else meanwhile))


def _ended(client: Client, job_ids: Sequence[str], timeout: float | None) -> list[Job]:
    deadline = None if timeout is None else time.monotonic() + timeout
    return [client.wait(each, timeout=None if deadline is None else max(0.0, deadline - time.monotonic())) for each in job_ids]


def _followed(client: Client, job_id: str) -> Job:
    try:
        job = follow_job(client, job_id, console=err)
    except KeyboardInterrupt:
        err.print(f"The job goes on. Watch: trainyard events {job_id} -f   Stop: trainyard cancel {job_id}", highlight=False)
        raise
    _explain_end(job)
    return job


def _explain_end(job: Mapping[str, Any]) -> None:
    if job["error"]:
        err.print(f"{job['state']}: {job['error']['message']} {job['error']['hint'] or ''}", highlight=False)


def _past(client: Client, job_id: str) -> Iterator[dict[str, Any]]:
    after = 0
    while True:
        page = client.past_events(job_id, after=after)
        if not page:
            return
        yield from page
        after = page[-1]["id"]


def _print_faults(faults: Any) -> None:
    for fault in faults:
        err.print(
            f"  {fault['pointer'] or '/'}: {fault['detail']}" + (f" {fault['suggestion']}" if fault.get("suggestion") else ""),
            highlight=False,
        )


def _show(job: Job, *, as_json: bool, text: str) -> None:
    if as_json:
        out.print_json(json.dumps(job))
    else:
        print(text)


def _summary(job: Mapping[str, Any]) -> str:
    why = f" ({job['error']['message']})" if job["error"] else f" ({job['reason']})" if job["reason"] else ""
    place = f" position {job['queue_position']}" if job.get("queue_position") else ""
    start = f", expected to start at {job['estimated_start_at']}" if job.get("estimated_start_at") else ""
    return f"{job['id']} {job['state']}{why}{place}{start} {_latest(job['metrics'])}".rstrip()


def _latest(values: Mapping[str, float]) -> str:
    shown = ("test_accuracy", "val_accuracy", "train_loss")
    return " ".join(f"{name} {values[name]:.4f}" for name in shown if name in values)


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


if __name__ == "__main__":
    main()
