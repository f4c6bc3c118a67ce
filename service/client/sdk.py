"""The Python SDK: `Client(url).submit(spec)`. Talks HTTP, retries what is safe to retry, never imports torch."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx2

from service.client.errors import Corrupt, Unreachable, error_of

Job = dict[str, Any]
TRIES = 5
TERMINAL = ("succeeded", "failed", "cancelled")


class Client:
    """One service. `url` and `api_key` default to TRAINYARD_URL and TRAINYARD_API_KEY."""

    def __init__(self, url: str | None = None, api_key: str | None = None) -> None:
        self.url = (url or os.environ.get("TRAINYARD_URL") or "http://127.0.0.1:8000").rstrip("/")
        key = api_key or os.environ.get("TRAINYARD_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx2.Client(base_url=self.url, headers=headers, timeout=httpx2.Timeout(90, connect=5), trust_env=False)

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
        return dict(self._ask("POST", "/v1/jobs", json=dict(spec), headers=headers).json())

    def validate(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """The verdict: {valid, errors, warnings, resolved_spec, layers, num_parameters}."""
        return dict(self._ask("POST", "/v1/jobs/validate", json=dict(spec)).json())

    def get(self, job_id: str, *, wait: float = 0, leaving: str | None = None) -> Job:
        """The job; with `wait`, once its state differs or after so many seconds (at most 60)."""
        query = {"wait": wait, **({"while": leaving} if leaving else {})}
        return dict(self._ask("GET", f"/v1/jobs/{job_id}", params=query).json())

    def jobs(self, **filters: Any) -> dict[str, Any]:
        """One page: {data, next_cursor}. Filters: limit, cursor, state, label, name."""
        return dict(self._ask("GET", "/v1/jobs", params={name: value for name, value in filters.items() if value is not None}).json())

    def cancel(self, job_id: str) -> Job:
        """Stop the job. Raises Conflict where it has ended otherwise."""
        return dict(self._ask("POST", f"/v1/jobs/{job_id}/cancel").json())

    def wait(self, job_id: str, *, timeout: float | None = None) -> Job:
        """The job once it has ended. Raises TimeoutError."""
        deadline = None if timeout is None else time.monotonic() + timeout
        job = self.get(job_id)
        while job["state"] not in TERMINAL:
            left = 60.0 if deadline is None else min(60.0, deadline - time.monotonic())
            if left <= 0:
                raise TimeoutError(f"Job {job_id} is still {job['state']}.")
            job = self.get(job_id, wait=left, leaving=job["state"])
        return job

    def events(self, job_id: str, *, after: int = 0) -> Iterator[dict[str, Any]]:
        """Events as they happen, to the terminal one; a broken stream is taken up where it broke."""
        failures = 0
        while True:
            try:
                for event in self._stream(job_id, after):
                    after, failures = event["id"], 0
                    yield event
            except httpx2.TransportError as error:
                failures += 1
                if failures >= TRIES:
                    raise Unreachable(f"{self.url} does not answer: {error}") from error
                threading.Event().wait(min(5.0, 0.2 * 2**failures))
            else:
                return

    def past_events(self, job_id: str, *, after: int = 0) -> Sequence[dict[str, Any]]:
        """The next events that have happened, oldest first; empty at the end."""
        return list(self._ask("GET", f"/v1/jobs/{job_id}/events", params={"after": after, "limit": 1000}).json()["data"])

    def _stream(self, job_id: str, after: int) -> Iterator[dict[str, Any]]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        with self._http.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer:
            if answer.status_code != 200:
                answer.read()
                raise error_of(answer.status_code, _problem(answer))
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    def metrics(self, job_id: str) -> Sequence[dict[str, Any]]:
        """One row per finished epoch."""
        return list(self._ask("GET", f"/v1/jobs/{job_id}/metrics").json()["data"])

    def metrics_csv(self, job_id: str) -> str:
        """The same as CSV."""
        return self._ask("GET", f"/v1/jobs/{job_id}/metrics", params={"format": "csv"}).text

    def logs(self, job_id: str, *, tail: int | None = None) -> str:
        """The log's text."""
        return self._ask("GET", f"/v1/jobs/{job_id}/logs", params={"tail": tail} if tail else {}).text

    def artifacts(self, job_id: str) -> Sequence[dict[str, Any]]:
        """The manifest: {path, size, sha256, content_type, url}. Raises Conflict before the end."""
        return list(self._ask("GET", f"/v1/jobs/{job_id}/artifacts").json()["data"])

    def download(self, job_id: str, folder: Path) -> list[Path]:
        """Every artifact into the folder; a file appears whole and verified, or not at all. Raises Corrupt."""
        written = []
        for file in self.artifacts(job_id):
            target = folder / file["path"]
            if not target.resolve().is_relative_to(folder.resolve()):
                raise Corrupt(f"The manifest names {file['path']!r}, which lies outside the folder.")
            target.parent.mkdir(parents=True, exist_ok=True)
            self._fetch(file, target)
            written.append(target)
        return written

    def _fetch(self, file: Mapping[str, Any], target: Path) -> None:
        part, digest = target.with_name(target.name + ".part"), hashlib.sha256()
        with self._http.stream("GET", file["url"]) as answer, part.open("wb") as out:
            if answer.status_code != 200:
                answer.read()
                raise error_of(answer.status_code, _problem(answer))
            for chunk in answer.iter_bytes():
                digest.update(chunk)
                out.write(chunk)
        if digest.hexdigest() != file["sha256"]:
            part.unlink()
            raise Corrupt(f"{file['path']} arrived damaged; try again.")
        part.replace(target)

    def ready(self) -> dict[str, Any]:
        """What readiness says, also when it says no."""
        try:
            return dict(self._http.get("/readyz").json())
        except httpx2.TransportError as error:
            raise Unreachable(f"{self.url} does not answer: {error}. Start it with `make up`, or set TRAINYARD_URL.") from error

    def _ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """One request, tried again while nobody answers or the service is busy; every request of ours is safe to repeat."""
        pause = 0.2
        for attempt in range(1, TRIES + 1):
            try:
                answer = self._http.request(method, path, **options)
            except httpx2.TransportError as error:
                if attempt == TRIES:
                    raise Unreachable(f"{self.url} does not answer: {error}. Start it with `make up`, or set TRAINYARD_URL.") from error
            else:
                if answer.status_code < 400:
                    return answer
                if answer.status_code != 503 or attempt == TRIES:
                    raise error_of(answer.status_code, _problem(answer))
                pause = max(pause, float(answer.headers.get("Retry-After", "0")))
            threading.Event().wait(min(5.0, pause))
            pause *= 2
        raise AssertionError("the last try returns or raises")


def _problem(answer: httpx2.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {"detail": f"HTTP {answer.status_code}: {answer.text[:200]}"}
    return body if isinstance(body, dict) else {}
