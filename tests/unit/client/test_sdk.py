"""The SDK against answers made up here: no socket, no waiting."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest

from service.client import sdk
from service.client.errors import Conflict, Corrupt, NotFound, Refused, Rejected, Unreachable

Answering = Callable[[httpx2.Request], httpx2.Response]
BODY = b"weights"


def client(answering: Answering) -> sdk.Client:
    made = sdk.Client("http://trainyard.test")
    made.close()
    made._http = httpx2.Client(base_url=made.url, transport=httpx2.MockTransport(answering))
    return made


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between tries, written down instead of waited for."""
    waited: list[float] = []
    monkeypatch.setattr(sdk, "threading", SimpleNamespace(Event=lambda: SimpleNamespace(wait=waited.append)))
    return waited


def test_every_submit_carries_an_idempotency_key() -> None:
    """Two submits carry two keys, and a key that is given is the key that is sent."""
    seen: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers["Idempotency-Key"])
        return httpx2.Response(202, json={"id": "job_1"})

    with client(answer) as trainyard:
        trainyard.submit({"epochs": 1})
        trainyard.submit({"epochs": 1})
        trainyard.submit({"epochs": 1}, idempotency_key="mine")

    assert len(set(seen)) == 3
    assert seen[2] == "mine"


def test_a_lost_answer_is_asked_for_again_with_the_same_key(pauses: list[float]) -> None:
    """A submit whose connection breaks is repeated under one key, so that it stays one job."""
    seen: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers["Idempotency-Key"])
        if len(seen) < 3:
            raise httpx2.ReadError("cut")
        return httpx2.Response(202, json={"id": "job_1"})

    with client(answer) as trainyard:
        job = trainyard.submit({"epochs": 1})

    assert job["id"] == "job_1"
    assert len(seen) == 3
    assert len(set(seen)) == 1
    assert pauses == sorted(pauses)


def test_a_busy_service_is_given_the_time_it_asks_for(pauses: list[float]) -> None:
    """A 503 with Retry-After is tried again, not before that many seconds."""
    answers = iter([httpx2.Response(503, headers={"Retry-After": "3"}, json={}), httpx2.Response(200, json={"id": "job_1"})])

    with client(lambda _: next(answers)) as trainyard:
        trainyard.get("job_1")

    assert pauses == [3.0]


def test_tries_are_bounded(pauses: list[float]) -> None:
    """Who never answers, or only with 503, ends in Unreachable after a fixed number of tries."""
    for answer in (httpx2.Response(503, json={"detail": "full"}), None):
        asked: list[str] = []

        def answering(request: httpx2.Request, answer: httpx2.Response | None = answer, asked: list[str] = asked) -> httpx2.Response:
            asked.append(request.url.path)
            if answer is None:
                raise httpx2.ConnectError("refused")
            return answer

        with client(answering) as trainyard, pytest.raises(Unreachable):
            trainyard.get("job_1")

        assert len(asked) == sdk.TRIES
    assert len(pauses) == 2 * (sdk.TRIES - 1)


@pytest.mark.parametrize(
    ("status", "kind", "exit_code"), [(404, NotFound, 4), (409, Conflict, 1), (422, Rejected, 3), (401, Refused, 1), (500, Refused, 1)]
)
def test_a_refusal_is_an_error_with_the_problem_in_it(status: int, kind: type[Refused], exit_code: int) -> None:
    """Each status becomes its error, which keeps the problem document and is not tried again."""
    problem = {"detail": "no", "errors": [{"pointer": "/epochs", "detail": "is 0", "suggestion": None}]}
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.path)
        return httpx2.Response(status, json=problem)

    with client(answer) as trainyard, pytest.raises(kind) as caught:
        trainyard.get("job_1")

    assert caught.value.problem == problem
    assert caught.value.exit_code == exit_code
    assert len(asked) == 1


def test_a_broken_event_stream_is_taken_up_where_it_broke(pauses: list[float]) -> None:
    """After a cut, the stream is asked for from the last event that came; none comes twice."""
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.headers["Last-Event-ID"])
        first = len(asked) == 1

        def lines() -> Iterator[bytes]:
            yield b'id: 1\ndata: {"id": 1}\n\n: still here\n\n' if first else b'id: 2\ndata: {"id": 2}\n\n'
            if first:
                raise httpx2.ReadError("cut")

        return httpx2.Response(200, content=lines())

    with client(answer) as trainyard:
        events = list(trainyard.events("job_1"))

    assert [event["id"] for event in events] == [1, 2]
    assert asked == ["0", "1"]
    assert len(pauses) == 1


def test_waiting_ends_with_the_job() -> None:
    """Waiting asks with a long poll that names the state to leave, until the state is a last one."""
    states = iter(["queued", "running", "succeeded"])
    asked: list[dict[str, str]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(dict(request.url.params))
        return httpx2.Response(200, json={"id": "job_1", "state": next(states)})

    with client(answer) as trainyard:
        job = trainyard.wait("job_1")

    assert job["state"] == "succeeded"
    assert [each.get("while") for each in asked] == [None, "queued", "running"]
    assert all(0 < float(each["wait"]) <= 60 for each in asked[1:])


def test_waiting_gives_up_in_time() -> None:
    """A job that has not ended when the time is up raises TimeoutError."""
    with client(lambda _: httpx2.Response(200, json={"id": "job_1", "state": "queued"})) as trainyard, pytest.raises(TimeoutError):
        trainyard.wait("job_1", timeout=0)


def serving(path: str, sha256: str) -> Answering:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/artifacts"):
            return httpx2.Response(200, json={"data": [{"path": path, "size": len(BODY), "sha256": sha256, "url": "/file"}]})
        return httpx2.Response(200, content=BODY)

    return answer


def test_a_download_is_whole(tmp_path: Path) -> None:
    """A file whose digest is the manifest's lies in its folder under its own name, and nothing else does."""
    with client(serving("evaluation/metrics.json", hashlib.sha256(BODY).hexdigest())) as trainyard:
        written = trainyard.download("job_1", tmp_path)

    assert written == [tmp_path / "evaluation" / "metrics.json"]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == written
    assert written[0].read_bytes() == BODY


def test_a_damaged_download_leaves_nothing(tmp_path: Path) -> None:
    """A file with another digest than the manifest's raises Corrupt, and neither it nor a part of it stays."""
    with client(serving("model.safetensors", "0" * 64)) as trainyard, pytest.raises(Corrupt):
        trainyard.download("job_1", tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["../outside", "/etc/outside"])
def test_a_download_stays_in_its_folder(tmp_path: Path, path: str) -> None:
    """A manifest that names a place outside the folder is refused before anything is written."""
    folder = tmp_path / "inside"
    folder.mkdir()

    with client(serving(path, hashlib.sha256(BODY).hexdigest())) as trainyard, pytest.raises(Corrupt):
        trainyard.download("job_1", folder)

    assert list(tmp_path.rglob("*")) == [folder]


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """URL and key are those of TRAINYARD_URL and TRAINYARD_API_KEY, where none are given."""
    monkeypatch.setenv("TRAINYARD_URL", "http://elsewhere:9/")
    monkeypatch.setenv("TRAINYARD_API_KEY", "secret")

    with sdk.Client() as trainyard:
        assert trainyard.url == "http://elsewhere:9"
        assert trainyard._http.headers["Authorization"] == "Bearer secret"
