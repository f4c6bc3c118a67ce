"""The way to a service: its address and key, requests that are tried again, and answers that are told from another server's."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import httpx2

from service.client.errors import BadRequest, NotTrainyard, Unreachable, error_of
from service.client.patience import patiently, seconds_asked

GRACE_SECONDS = 1.0
"""How much later than asked a long poll may answer."""


class Connection:
    """One service. `url`, `api_key` and `project` default to TRAINYARD_URL, TRAINYARD_API_KEY and TRAINYARD_PROJECT. Raises BadRequest."""

    def __init__(self, url: str | None = None, api_key: str | None = None, project: str | None = None) -> None:
        self.url = _checked(url or os.environ.get("TRAINYARD_URL") or "http://127.0.0.1:8000")
        key = api_key or os.environ.get("TRAINYARD_API_KEY")
        if key and not (key.isascii() and key.isprintable()):
            raise BadRequest("TRAINYARD_API_KEY is not a key: it holds a character that no key has.")
        named = project or os.environ.get("TRAINYARD_PROJECT")
        if named and not (named.isascii() and named.isprintable()):
            raise BadRequest("TRAINYARD_PROJECT is no project's name: it holds a character that no name has.")
        self._headers = ({"Authorization": f"Bearer {key}"} if key else {}) | ({"Trainyard-Project": named} if named else {})
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


def _problem(answer: httpx2.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {"detail": f"HTTP {answer.status_code}: {' '.join(answer.text[:200].split())}"}
    return body if isinstance(body, dict) else {}
