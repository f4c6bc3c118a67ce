"""The Python SDK: `Client(url).submit(spec)`. Talks HTTP, retries what is safe to retry, never imports torch."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx2

from service.client.errors import BadRequest, Corrupt, NotTrainyard, Unreachable, error_of
from service.client.packing import chunks, parcel
from service.client.patience import Patience, patiently, seconds_asked
from service.client.sending import Sending

Job = dict[str, Any]
Dataset = dict[str, Any]
UPLOAD_SECONDS = 3600.0
"""How long the service may take to answer an upload: it puts it into storage first."""
STREAM_TRIES = 10
GRACE_SECONDS = 1.0
"""How much later than asked a long poll may answer."""
TERMINAL = ("succeeded", "failed", "cancelled")


class Client:
    """One service. `url` and `api_key` default to TRAINYARD_URL and TRAINYARD_API_KEY. Raises BadRequest where they cannot be used."""

    def __init__(self, url: str | None = None, api_key: str | None = None) -> None:
        self.url = _checked(url or os.environ.get("TRAINYARD_URL") or "http://127.0.0.1:8000")
        key = api_key or os.environ.get("TRAINYARD_API_KEY")
        if key and not (key.isascii() and key.isprintable()):
            raise BadRequest("TRAINYARD_API_KEY is not a key: it holds a character that no key has.")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = self._connected()

    def _connected(self) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, headers=self._headers, timeout=_timeout(None), trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the connections go."""
        self._http.close()

    def submit(self, spec: Mapping[str, Any], *, idempotency_key: str | None = None) -> Job:
        """Queue a job; sending it again with the same key gives the same job. Raises Rejected with every fault."""
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return self._object("POST", "/v1/jobs", has="id", json=dict(spec), headers=headers)

    def validate(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """The verdict: {valid, errors, warnings, resolved_spec, layers, num_parameters}."""
        return self._object("POST", "/v1/jobs/validate", has="valid", json=dict(spec))

    def script(self, spec: Mapping[str, Any]) -> str:
        """The spec as the textbook's program: the train.py that its job would hand out. Raises Rejected with every fault."""
        answer = self._ask("POST", "/v1/jobs/script", json=dict(spec))
        self._check_kind(answer, "text/x-python")
        return answer.text

    def get(self, job_id: str, *, wait: float = 0, leaving: str | None = None) -> Job:
        """The job; with `wait`, once its state differs or after so many seconds (at most 60)."""
        return self._job(job_id, wait=wait, leaving=leaving)

    def jobs(self, **filters: Any) -> dict[str, Any]:
        """One page: {data, next_cursor, only_newest}. Filters: limit, cursor, state, label, name, q (text), sort (`-val_accuracy`)."""
        return self._object("GET", "/v1/jobs", has="data", params={name: value for name, value in filters.items() if value is not None})

    def cancel(self, job_id: str) -> Job:
        """Stop the job. Raises Conflict where it has ended otherwise."""
        return self._object("POST", f"/v1/jobs/{job_id}/cancel", has="state")

    def pause(self, job_id: str) -> Job:
        """Set the job aside; one that runs loses no step. Raises Conflict where it has ended."""
        return self._object("POST", f"/v1/jobs/{job_id}/pause", has="state")

    def resume(self, job_id: str) -> Job:
        """Let a paused job go on. Raises Conflict where it has ended."""
        return self._object("POST", f"/v1/jobs/{job_id}/resume", has="state")

    def retry(self, job_id: str) -> Job:
        """A new job that goes on from a failed or cancelled one's last checkpoint. Raises Conflict for another state."""
        return self._object("POST", f"/v1/jobs/{job_id}/retry", has="id")

    def delete(self, job_id: str) -> None:
        """Remove an ended job with everything that it left. Raises Conflict where it lives, or another job needs its checkpoint."""
        self._ask("DELETE", f"/v1/jobs/{job_id}")

    def wait(self, job_id: str, *, timeout: float | None = None) -> Job:
        """The job once it has ended. Raises TimeoutError after `timeout` seconds in all; retries and their pauses count."""
        deadline = None if timeout is None else time.monotonic() + timeout
        job = self._job(job_id, deadline=deadline)
        while job["state"] not in TERMINAL:
            left = 60.0 if deadline is None else min(60.0, deadline - time.monotonic())
            if left <= 0:
                raise TimeoutError(f"Job {job_id} is still {job['state']}.")
            job = self._job(job_id, wait=left, leaving=job["state"], deadline=deadline)
        return job

    def _job(self, job_id: str, *, wait: float = 0, leaving: str | None = None, deadline: float | None = None) -> Job:
        query = {"wait": wait, **({"while": leaving} if leaving else {})}
        try:
            return self._object("GET", f"/v1/jobs/{job_id}", has="state", params=query, deadline=deadline)
        except Unreachable as error:
            slow = isinstance(error.__cause__, httpx2.TimeoutException)
            if slow and deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"No answer in time about job {job_id}.") from error
            raise

    def events(self, job_id: str, *, after: int = 0) -> Iterator[dict[str, Any]]:
        """Events as they happen, to the terminal one; a stream that ends before is taken up where it broke. Raises Unreachable."""
        patience = Patience(tries=STREAM_TRIES)
        while True:
            try:
                for event in self._to_the_last(job_id, after):
                    patience = Patience(tries=STREAM_TRIES)
                    if event:
                        after = event["id"]
                        yield event
            except Unreachable as failure:
                patience.after(failure)
            else:
                return

    def past_events(self, job_id: str, *, after: int = 0) -> Sequence[dict[str, Any]]:
        """The next events that have happened, oldest first; empty at the end."""
        return list(self._object("GET", f"/v1/jobs/{job_id}/events", has="data", params={"after": after, "limit": 1000})["data"])

    def _to_the_last(self, job_id: str, after: int) -> Iterator[dict[str, Any] | None]:
        """One stream's events. Raises Unreachable where it ends before the terminal one, which the caller may have had already."""
        began_after = after
        for event in self._stream(job_id, after):
            yield event
            if event and _is_last(event):
                return
            after = event["id"] if event else after
        if after != began_after or not self._is_over(job_id, after):
            raise Unreachable(f"{self.url} ends the events of job {job_id} before the job has ended.")

    def _is_over(self, job_id: str, after: int) -> bool:
        return self.get(job_id)["state"] in TERMINAL and not self.past_events(job_id, after=after)

    def _stream(self, job_id: str, after: int) -> Iterator[dict[str, Any] | None]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        with self._answer("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer:
            self._check_kind(answer, "text/event-stream")
            yield from _whole_events(answer.iter_lines())

    def metrics(self, job_id: str) -> Sequence[dict[str, Any]]:
        """One row per finished epoch."""
        return list(self._object("GET", f"/v1/jobs/{job_id}/metrics", has="data")["data"])

    def steps(self, job_id: str, *, after: int = -1, points: int | None = None) -> Sequence[dict[str, Any]]:
        """Logged steps after one of them: {step, epoch, train_loss, lr}; at most `points`, thinned for drawing."""
        query = {"per": "step", "after": after, **({"points": points} if points is not None else {})}
        return list(self._object("GET", f"/v1/jobs/{job_id}/metrics", has="data", params=query)["data"])

    def metrics_csv(self, job_id: str) -> str:
        """The same as CSV."""
        return self._text(f"/v1/jobs/{job_id}/metrics", "text/csv", params={"format": "csv"})

    def logs(self, job_id: str, *, tail: int | None = None) -> str:
        """The log's text."""
        return self._text(f"/v1/jobs/{job_id}/logs", "text/plain", params={"tail": tail} if tail else {})

    def checkpoints(self, job_id: str) -> Sequence[dict[str, Any]]:
        """Those that are kept, the newest first: {step, epoch, attempt_token, created_at, size, best, files: [{path, size, sha256, url}]}."""
        return list(self._object("GET", f"/v1/jobs/{job_id}/checkpoints", has="data")["data"])

    def artifacts(self, job_id: str) -> Sequence[dict[str, Any]]:
        """The manifest: {path, size, sha256, content_type, url}. Raises Conflict before the end."""
        return list(self._object("GET", f"/v1/jobs/{job_id}/artifacts", has="data")["data"])

    def download(self, job_id: str, folder: Path) -> list[Path]:
        """Every artifact into the folder; a file appears whole and verified, or not at all. Raises Corrupt, Unreachable, OSError."""
        written = []
        for file in self.artifacts(job_id):
            target = folder / file["path"]
            if not target.resolve().is_relative_to(folder.resolve()):
                raise Corrupt(f"The manifest names {file['path']!r}, which lies outside the folder.")
            self._fetch(file, target)
            written.append(target)
        return written

    def _fetch(self, file: Mapping[str, Any], target: Path) -> None:
        part = target.with_name(target.name + ".part")
        try:
            patiently(lambda: self._save(file, part))
            part.replace(target)
        finally:
            with suppress(OSError):
                part.unlink()

    def _save(self, file: Mapping[str, Any], part: Path) -> None:
        """The file's bytes from the first on, no more than its manifest says. Raises Corrupt."""
        size, digest = 0, hashlib.sha256()
        with self._answer("GET", file["url"]) as answer:
            part.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as out:
                for chunk in answer.iter_bytes():
                    size += out.write(chunk)
                    digest.update(chunk)
                    if size > file["size"]:
                        break
        if (size, digest.hexdigest()) != (file["size"], file["sha256"]):
            raise Corrupt(f"{file['path']} arrived damaged; try again.")

    def predict(self, job_id: str, samples: Sequence[Any] | Path, *, resize: bool = False) -> dict[str, Any]:
        """What the trained model answers: {outputs, names, classes, probabilities}.

        `samples` is a list as JSON has it, or a PNG, JPEG, CSV or JSON file. Raises BadRequest, Conflict, NotFound, OSError.
        """
        path, query = f"/v1/jobs/{job_id}/predict", {"resize": resize}
        if not isinstance(samples, Path):
            return self._object("POST", path, has="outputs", json={"inputs": list(samples)}, params=query)
        kinds = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".csv": "text/csv", ".json": "application/json"}
        kind = kinds.get(samples.suffix.lower())
        if kind is None:
            raise BadRequest(f"{samples.name} cannot be sent: models take {', '.join(kinds)}.")
        headers = {"Content-Type": kind}
        return self._object("POST", path, has="outputs", content=samples.read_bytes(), headers=headers, params=query)

    def push(self, name: str, path: Path, *, moved: Callable[[int, int], None] = lambda _, __: None) -> Dataset:
        """Upload a file, or a folder, as a data set; the same bytes again give the same version. `moved(bytes, of)` hears of the progress.

        The answer may still be `validating`. Raises BadRequest, Refused, Unreachable, OSError.
        """
        with parcel(path) as packed:
            headers = {"Content-Length": str(packed.size), "X-Content-SHA256": packed.sha256}

            def body() -> Iterator[bytes]:
                done = 0
                for chunk in chunks(packed.path):
                    yield chunk
                    done += len(chunk)
                    moved(done, packed.size)

            return self._read(patiently(lambda: self._sent(_dataset_path(name, None), body(), headers)), has="version")

    def _sent(self, path: str, body: Iterable[bytes], headers: Mapping[str, str]) -> httpx2.Response:
        """The answer to an upload; where it is a refusal, before all of the body was sent."""
        sending, timeout = Sending(body), httpx2.Timeout(UPLOAD_SECONDS, connect=5.0)
        options: dict[str, Any] = {"headers": headers, "timeout": timeout, "extensions": sending.extensions}
        with self._connected() as http, self._answer("PUT", path, http=http, content=sending, **options) as answer:
            answer.read()
        return answer

    def wait_dataset(self, name: str, version: str, *, timeout: float | None = None) -> Dataset:
        """The data set once it was looked at. Raises TimeoutError."""
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = 0.1
        while (dataset := self.dataset(name, version))["state"] == "validating":
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"Data set {name} is still being looked at.")
            threading.Event().wait(pause)
            pause = min(2.0, 1.5 * pause)
        return dataset

    def datasets(self) -> Sequence[Dataset]:
        """Every version of every data set, by name, the newest first of each."""
        return list(self._object("GET", "/v1/datasets", has="data")["data"])

    def dataset(self, name: str, version: str | None = None) -> Dataset:
        """One version; the newest that is ready where none is named. Raises NotFound."""
        return self._object("GET", _dataset_path(name, version), has="version")

    def dataset_sheet(self, name: str, version: str) -> bytes:
        """Some samples of each class as a picture (PNG). Raises NotFound where samples are no images."""
        return self._ask("GET", f"{_dataset_path(name, version)}/sheet.png").content

    def delete_dataset(self, name: str, version: str | None = None) -> None:
        """Remove a data set, or one version. Raises Conflict while a job needs it."""
        self._ask("DELETE", _dataset_path(name, version))

    def storage(self) -> dict[str, Any]:
        """What the project's jobs and data sets take in storage: {jobs: {objects, bytes}, datasets: {objects, bytes}}."""
        return self._object("GET", "/v1/storage", has="jobs")

    def queue(self) -> Sequence[dict[str, Any]]:
        """What waits, class by class: {device, waiting, running, slots, idle, jobs: [{id, name, position, priority, created_at, estimated_start_at}]}."""
        return list(self._object("GET", "/v1/queue", has="data")["data"])

    def workers(self) -> Sequence[dict[str, Any]]:
        """Live workers: {name, device, device_name, memory_bytes, last_beat_at, slots, busy, threads, versions, jobs, history}."""
        return list(self._object("GET", "/v1/workers", has="data")["data"])

    def ready(self) -> dict[str, Any]:
        """What readiness says, also when it says no."""
        with self._in_our_words():
            answer = self._http.get("/readyz")
        return self._read(answer, has="parts")

    def _object(self, method: str, path: str, *, has: str, deadline: float | None = None, **options: Any) -> dict[str, Any]:
        """The JSON object that is answered; one without the key `has` is not our service's."""
        return self._read(self._ask(method, path, deadline=deadline, **options), has=has)

    def _text(self, path: str, kind: str, **options: Any) -> str:
        answer = self._ask("GET", path, **options)
        self._check_kind(answer, kind)
        return answer.text

    def _ask(self, method: str, path: str, *, deadline: float | None = None, **options: Any) -> httpx2.Response:
        """One request, tried again while nobody answers or the service is busy; every request of ours is safe to repeat."""

        def once() -> httpx2.Response:
            with self._answer(method, path, timeout=_timeout(deadline), **options) as answer:
                answer.read()
            return answer

        return patiently(once, deadline)

    @contextmanager
    def _answer(self, method: str, path: str, *, http: httpx2.Client | None = None, **options: Any) -> Iterator[httpx2.Response]:
        """A good answer, its body still to be read. Raises Unreachable for what may pass, another ClientError for what will not."""
        with self._in_our_words(), (http or self._http).stream(method, path, **options) as answer:
            if not answer.is_success:
                answer.read()
                raise error_of(answer.status_code, _problem(answer), retry_after=seconds_asked(answer.headers.get("Retry-After", "")))
            yield answer

    @contextmanager
    def _in_our_words(self) -> Iterator[None]:
        try:
            yield
        except httpx2.TransportError as error:
            why = str(error) or type(error).__name__
            raise Unreachable(f"{self.url} does not answer: {why}. Start it with `make up`, or set TRAINYARD_URL.") from error
        except httpx2.DecodingError as error:
            raise self._stranger() from error
        except (httpx2.InvalidURL, UnicodeError) as error:
            raise BadRequest(f"This cannot be asked of {self.url}: {error}") from error

    def _read(self, answer: httpx2.Response, *, has: str) -> dict[str, Any]:
        try:
            body = answer.json()
        except ValueError as error:
            raise self._stranger() from error
        if not isinstance(body, dict) or has not in body:
            raise self._stranger()
        return body

    def _check_kind(self, answer: httpx2.Response, kind: str) -> None:
        if not answer.headers.get("Content-Type", "").startswith(kind):
            raise self._stranger()

    def _stranger(self) -> NotTrainyard:
        return NotTrainyard(f"{self.url} answers, but not as Trainyard does. Is TRAINYARD_URL another server's address?")


def _dataset_path(name: str, version: str | None) -> str:
    return f"/v1/datasets/{quote(name, safe='')}" + (f"/{quote(version, safe='')}" if version else "")


def _timeout(deadline: float | None) -> httpx2.Timeout:
    left = 90.0 if deadline is None else min(90.0, max(0.0, deadline - time.monotonic()) + GRACE_SECONDS)
    return httpx2.Timeout(left, connect=min(5.0, left))


def _checked(url: str) -> str:
    """The address without its last slash. Raises BadRequest."""
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise BadRequest(f"{url!r} is not an address: {error}. TRAINYARD_URL is for example http://127.0.0.1:8000.") from error
    if parsed.scheme not in ("http", "https") or not parsed.host or (parsed.port or 0) > 65535:
        raise BadRequest(f"{url!r} is not an address. TRAINYARD_URL is for example http://127.0.0.1:8000.")
    return url.rstrip("/")


def _whole_events(lines: Iterable[str]) -> Iterator[dict[str, Any] | None]:
    """The events that came whole, up to their blank line; None for a comment, which only says that the stream lives."""
    data = ""
    for line in lines:
        if line.startswith("data: "):
            data = line.removeprefix("data: ")
        elif line.startswith(":"):
            yield None
        elif not line and data:
            yield json.loads(data)
            data = ""


def _is_last(event: Mapping[str, Any]) -> bool:
    return event["type"] == "state" and event["data"]["state"] in TERMINAL


def _problem(answer: httpx2.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {"detail": f"HTTP {answer.status_code}: {' '.join(answer.text[:200].split())}"}
    return body if isinstance(body, dict) else {}
