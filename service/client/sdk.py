"""The Python SDK: `Client(url).submit(spec).wait()`. Talks HTTP, retries what is safe to retry, never imports torch."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2

from service.client.administering import Administering
from service.client.downloading import chosen, fetch, place
from service.client.errors import BadRequest, JobFailed, Unreachable
from service.client.handle import Job
from service.client.packing import chunks, parcel
from service.client.patience import patiently
from service.client.rows import Rows
from service.client.sending import Sending
from service.client.specs import Spec, spec_of
from service.client.streaming import TERMINAL, Event, unbroken, whole_events

__all__ = ["Client", "Dataset", "Job"]

Dataset = dict[str, Any]
UPLOAD_SECONDS = 3600.0
"""How long the service may take to answer an upload: it puts it into storage first."""
LONGEST_WAIT = 60.0
"""Seconds of one long poll."""


class Client(Administering):
    """One service. `url`, `api_key` and `project` default to TRAINYARD_URL, TRAINYARD_API_KEY and TRAINYARD_PROJECT.

    `project` is for a key of the installation: in which project it acts. Raises BadRequest where they cannot be used.

    >>> with Client("http://127.0.0.1:8000") as client:
    ...     job = client.submit("job.yaml").wait(timeout=600)
    ...     job.download("model")

    Every request is tried up to five times in a row while nobody answers, or the answer is 429, 502, 503 or 504: with pauses of 0.2, 0.4, ...
    to 5 s, or what Retry-After asks for, to 60 s. None can be done twice by that: a submit carries an Idempotency-Key, and what else asks for
    something is harmless to repeat. A download goes on where it broke off; a stream of events, too, up to ten times in a row. Then, Unreachable.
    """

    def submit(self, spec: Spec, *, idempotency_key: str | None = None) -> Job:
        """Queue a job; sending it again with the same key gives the same job. Raises Rejected with every fault.

        `spec` is a dict, the path of a YAML or JSON file, a spec's text, a JobSpec, or what `from_torch` gives.
        """
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return Job(self, self._object("POST", "/v1/jobs", has="id", json=spec_of(spec), headers=headers))

    def validate(self, spec: Spec) -> dict[str, Any]:
        """The verdict: {valid, errors, warnings, resolved_spec, layers, num_parameters, flops_per_sample, memory_bytes, estimate}."""
        return self._object("POST", "/v1/jobs/validate", has="valid", json=spec_of(spec))

    def script(self, spec: Spec) -> str:
        """The spec as the textbook's program: the train.py that its job would hand out. Raises Rejected with every fault."""
        answer = self._ask("POST", "/v1/jobs/script", json=spec_of(spec))
        self._check_kind(answer, "text/x-python")
        return answer.text

    def get(self, job_id: str, *, wait: float = 0, leaving: str | None = None) -> Job:
        """The job; with `wait`, once its state differs or after so many seconds (at most 60)."""
        return self._job(job_id, wait=wait, leaving=leaving)

    def jobs(self, **filters: Any) -> Iterator[Job]:
        """Every job that fits, the newest first; asks for the first page at once, and for others as they are needed. Raises BadRequest.

        Filters: state and label (`key:value`; one or a list of either), name, q (text), sort (`-val_accuracy`).

        >>> [job.id for job in client.jobs(state="failed", label="course:intro")]
        """
        return self._all_of(self.page(**{"limit": 100, **filters}), filters)

    def _all_of(self, page: dict[str, Any], filters: Mapping[str, Any]) -> Iterator[Job]:
        while True:
            yield from (Job(self, facts) for facts in page["data"])
            if page.get("next_cursor") is None:
                return
            page = self.page(**{"limit": 100, **filters, "cursor": page["next_cursor"]})

    def page(self, **filters: Any) -> dict[str, Any]:
        """One page of jobs: {data, next_cursor, only_newest}. Filters: limit, cursor, state, label, name, q (text), sort (`-val_accuracy`)."""
        return self._object("GET", "/v1/jobs", has="data", params={name: value for name, value in filters.items() if value is not None})

    def cancel(self, job_id: str) -> Job:
        """Stop the job. Raises Conflict where it has ended otherwise."""
        return self._asked(job_id, "cancel")

    def pause(self, job_id: str) -> Job:
        """Set the job aside; one that runs loses no step. Raises Conflict where it has ended."""
        return self._asked(job_id, "pause")

    def resume(self, job_id: str) -> Job:
        """Let a paused job go on. Raises Conflict where it has ended."""
        return self._asked(job_id, "resume")

    def retry(self, job_id: str) -> Job:
        """A new job that goes on from a failed or cancelled one's last checkpoint. Raises Conflict for another state."""
        return self._asked(job_id, "retry")

    def _asked(self, job_id: str, what: str) -> Job:
        return Job(self, self._object("POST", f"/v1/jobs/{job_id}/{what}", has="state"))

    def delete(self, job_id: str) -> None:
        """Remove an ended job with everything that it left. Raises Conflict where it lives, or another job needs its checkpoint."""
        self._ask("DELETE", f"/v1/jobs/{job_id}")

    def wait(self, job_id: str, *, timeout: float | None = None, raise_on_failure: bool = False) -> Job:
        """The job once it has ended. Raises TimeoutError after `timeout` seconds in all; retries and their pauses count.

        With `raise_on_failure`, raises JobFailed where it did not succeed.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        job = self._job(job_id, deadline=deadline)
        while job["state"] not in TERMINAL:
            left = LONGEST_WAIT if deadline is None else min(LONGEST_WAIT, deadline - time.monotonic())
            if left <= 0:
                raise TimeoutError(f"Job {job_id} is still {job['state']}.")
            job = self._job(job_id, wait=left, leaving=job["state"], deadline=deadline)
        if raise_on_failure and job["state"] != "succeeded":
            raise JobFailed(job)
        return job

    def _job(self, job_id: str, *, wait: float = 0, leaving: str | None = None, deadline: float | None = None) -> Job:
        query = {"wait": wait, **({"while": leaving} if leaving else {})}
        try:
            return Job(self, self._object("GET", f"/v1/jobs/{job_id}", has="state", params=query, deadline=deadline))
        except Unreachable as error:
            slow = isinstance(error.__cause__, httpx2.TimeoutException)
            if slow and deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"No answer in time about job {job_id}.") from error
            raise

    def events(self, job_id: str, *, after: int = 0) -> Iterator[Event]:
        """Events as they happen, to the terminal one; a stream that ends before is taken up where it broke. Raises Unreachable."""
        return unbroken(lambda after: self._stream(job_id, after), lambda after: self._is_over(job_id, after), after=after)

    def past_events(self, job_id: str, *, after: int = 0) -> Sequence[Event]:
        """The next events that have happened, oldest first; empty at the end."""
        return list(self._object("GET", f"/v1/jobs/{job_id}/events", has="data", params={"after": after, "limit": 1000})["data"])

    def _is_over(self, job_id: str, after: int) -> bool:
        return self.get(job_id)["state"] in TERMINAL and not self.past_events(job_id, after=after)

    def _stream(self, job_id: str, after: int) -> Iterator[Event | None]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        with self._answer("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer:
            self._check_kind(answer, "text/event-stream")
            yield from whole_events(answer.iter_lines())

    def metrics(self, job_id: str) -> Rows:
        """One row per finished epoch."""
        return Rows(self._object("GET", f"/v1/jobs/{job_id}/metrics", has="data")["data"])

    def steps(self, job_id: str, *, after: int = -1, points: int | None = None) -> Rows:
        """Logged steps after one of them: {step, epoch, train_loss, lr}; at most `points`, thinned for drawing."""
        query = {"per": "step", "after": after, **({"points": points} if points is not None else {})}
        return Rows(self._object("GET", f"/v1/jobs/{job_id}/metrics", has="data", params=query)["data"])

    def metrics_csv(self, job_id: str) -> str:
        """The epochs' rows as CSV."""
        return self._text(f"/v1/jobs/{job_id}/metrics", "text/csv", params={"format": "csv"})

    def logs(self, job_id: str, *, tail: int | None = None) -> str:
        """The log's text; its last lines with `tail`."""
        return self._text(f"/v1/jobs/{job_id}/logs", "text/plain", params={"tail": tail} if tail else {})

    def checkpoints(self, job_id: str) -> Rows:
        """Those that are kept, the newest first: {step, epoch, attempt_token, created_at, size, best, files: [{path, size, sha256, url}]}."""
        return Rows(self._object("GET", f"/v1/jobs/{job_id}/checkpoints", has="data")["data"])

    def artifacts(self, job_id: str) -> Rows:
        """The manifest: {path, size, sha256, content_type, url}. Raises Conflict before the end."""
        return Rows(self._object("GET", f"/v1/jobs/{job_id}/artifacts", has="data")["data"])

    def download(self, job_id: str, folder: Path | str, *, only: str | Sequence[str] | None = None) -> list[Path]:
        """Every artifact into the folder, or `only` some, by name or pattern (`plots/*`); a file appears whole and verified, or not at all.

        What lies there already is kept, what breaks off is gone on with. Raises Conflict before the end, NotFound, Corrupt, Unreachable, OSError.
        """
        written = []
        for file in chosen(self.artifacts(job_id), only):
            target = place(file, Path(folder))
            fetch(file, target, ask=self._opened)
            written.append(target)
        return written

    def _opened(self, url: str, headers: Mapping[str, str]) -> AbstractContextManager[httpx2.Response]:
        return self._answer("GET", url, headers=headers)

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

    def deliveries(self, job_id: str) -> Rows:
        """What `notify` sent of the job or is to send: {id, type, url, state, reason, created_at, next_attempt_at, attempts}."""
        return Rows(self._object("GET", f"/v1/jobs/{job_id}/deliveries", has="data")["data"])

    def replay(self, job_id: str, delivery_id: str) -> dict[str, Any]:
        """Send a webhook again now, under the same id. Raises NotFound."""
        return self._object("POST", f"/v1/jobs/{job_id}/deliveries/{delivery_id}/replay", has="state")

    def webhook_secret(self, *, rotate: bool = False) -> dict[str, Any]:
        """What webhooks are signed with: {secret, previous, previous_until}; a new one, beside which the old one signs for a day, with `rotate`."""
        if rotate:
            return self._object("POST", "/v1/webhooks/secret/rotate", has="secret")
        return self._object("GET", "/v1/webhooks/secret", has="secret")

    def storage(self) -> dict[str, Any]:
        """What the project's jobs and data sets take in storage: {jobs: {objects, bytes}, datasets: {objects, bytes}}."""
        return self._object("GET", "/v1/storage", has="jobs")

    def queue(self) -> Rows:
        """What waits, class by class: {device, waiting, running, slots, idle, jobs: [{id, name, position, priority, created_at, estimated_start_at}]}."""
        return Rows(self._object("GET", "/v1/queue", has="data")["data"])

    def workers(self) -> Rows:
        """Live workers: {name, device, device_name, memory_bytes, last_beat_at, slots, busy, threads, versions, jobs, history}."""
        return Rows(self._object("GET", "/v1/workers", has="data")["data"])

    def ready(self) -> dict[str, Any]:
        """What readiness says, also when it says no; asked once, as a 503 is an answer here."""
        with self._in_our_words():
            answer = self._http.get("/readyz")
        return self._read(answer, has="parts")

    def server_time(self) -> datetime | None:
        """The service's clock, to the second; None where it does not tell."""
        with self._in_our_words():
            told = self._http.get("/healthz").headers.get("Date")
        return parsedate_to_datetime(told) if told else None


def _dataset_path(name: str, version: str | None) -> str:
    return f"/v1/datasets/{quote(name, safe='')}" + (f"/{quote(version, safe='')}" if version else "")
