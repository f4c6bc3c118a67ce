"""The SDK against answers made up here: no socket, no waiting."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from service.client import connection, patience, sdk, streaming
from service.client.errors import BUSY, BadRequest, ClientError, Conflict, Corrupt, NotFound, NotTrainyard, Refused, Rejected, Unreachable

Answering = Callable[[httpx2.Request], httpx2.Response]
BODY = b"weights"
RUNNING = {"id": 1, "type": "state", "data": {"state": "running"}}
SUCCEEDED = {"id": 2, "type": "state", "data": {"state": "succeeded"}}


def sse(event: Mapping[str, Any]) -> bytes:
    return f"id: {event['id']}\nevent: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def stream(content: bytes | Iterator[bytes]) -> httpx2.Response:
    return httpx2.Response(200, content=content, headers={"Content-Type": "text/event-stream; charset=utf-8"})


def client(answering: Answering) -> sdk.Client:
    made = sdk.Client("http://trainyard.test")
    made.close()
    made._http = httpx2.Client(base_url=made.url, transport=httpx2.MockTransport(answering))
    return made


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between tries, written down instead of waited for."""
    waited: list[float] = []
    monkeypatch.setattr(patience, "threading", SimpleNamespace(Event=lambda: SimpleNamespace(wait=waited.append)))
    return waited


def test_every_submit_carries_an_idempotency_key() -> None:
    """Two submits carry two keys, and a key that is given is the key that is sent."""
    seen: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers["Idempotency-Key"])
        return httpx2.Response(202, json={"id": "job_1", "state": "queued"})

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
        return httpx2.Response(202, json={"id": "job_1", "state": "queued"})

    with client(answer) as trainyard:
        job = trainyard.submit({"epochs": 1})

    assert job["id"] == "job_1"
    assert len(seen) == 3
    assert len(set(seen)) == 1
    assert pauses == sorted(pauses)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service_is_given_the_time_it_asks_for(status: int, pauses: list[float]) -> None:
    """Whether it has too much to do, or this key has asked too often: tried again, not before so many seconds."""
    answers = iter(
        [httpx2.Response(status, headers={"Retry-After": "3"}, json={}), httpx2.Response(200, json={"id": "job_1", "state": "queued"})]
    )

    with client(lambda _: next(answers)) as trainyard:
        trainyard.get("job_1")

    assert pauses == [3.0]


def test_tries_are_bounded(pauses: list[float]) -> None:
    """Who never answers, or only that it is busy, ends in Unreachable after a fixed number of tries."""
    answers = [*(httpx2.Response(status, json={"detail": "full"}) for status in BUSY), None]
    for answer in answers:
        asked: list[str] = []

        def answering(request: httpx2.Request, answer: httpx2.Response | None = answer, asked: list[str] = asked) -> httpx2.Response:
            asked.append(request.url.path)
            if answer is None:
                raise httpx2.ConnectError("refused")
            return answer

        with client(answering) as trainyard, pytest.raises(Unreachable):
            trainyard.get("job_1")

        assert len(asked) == patience.TRIES
    assert len(pauses) == len(answers) * (patience.TRIES - 1)


def test_retry_after_may_be_a_date(pauses: list[float]) -> None:
    """A Retry-After that is an HTTP date is waited for; one that is past, too far, or no date at all does no harm."""
    asked = iter(
        [format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True), "Wed, 21 Oct 2015 07:28:00 GMT", "9" * 400, "soon"]
    )

    def answer(_: httpx2.Request) -> httpx2.Response:
        when = next(asked, None)
        return httpx2.Response(503, headers={"Retry-After": when}, json={}) if when else httpx2.Response(200, json={"state": "queued"})

    with client(answer) as trainyard:
        trainyard.get("job_1")

    assert 25 < pauses[0] <= 30
    assert pauses[1:] == [0.4, patience.LONGEST_ASKED_PAUSE, 1.6]


@pytest.mark.parametrize(
    ("status", "slug", "kind", "exit_code"),
    [
        (404, "job-not-found", NotFound, 4),
        (409, "not_finished", Conflict, 1),
        (422, "spec-rejected", Rejected, 3),
        (422, "bad-cursor", BadRequest, 2),
        (422, "bad-request", BadRequest, 2),
        (401, "unauthorized", Refused, 1),
        (307, "none", Refused, 1),
        (500, "internal", Refused, 1),
    ],
)
def test_a_refusal_is_an_error_with_the_problem_in_it(status: int, slug: str, kind: type[ClientError], exit_code: int) -> None:
    """Each status becomes its error, which keeps the problem document and is not tried again; a 422 may be about a spec or not."""
    problem = {"type": f"/problems/{slug}", "detail": "no", "errors": [{"pointer": "/epochs", "detail": "is 0", "suggestion": None}]}
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.path)
        return httpx2.Response(status, json=problem)

    with client(answer) as trainyard, pytest.raises(kind) as caught:
        trainyard.get("job_1")

    assert caught.value.problem == problem
    assert caught.value.faults == problem["errors"]
    assert caught.value.exit_code == exit_code
    assert len(asked) == 1


def test_a_broken_event_stream_is_taken_up_where_it_broke(pauses: list[float]) -> None:
    """After a cut, the stream is asked for from the last event that came; none comes twice."""
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.headers["Last-Event-ID"])
        first = len(asked) == 1

        def lines() -> Iterator[bytes]:
            yield sse(RUNNING) + b": still here\n\n" if first else sse(SUCCEEDED)
            if first:
                raise httpx2.ReadError("cut")

        return stream(lines())

    with client(answer) as trainyard:
        events = list(trainyard.events("job_1"))

    assert [event["id"] for event in events] == [1, 2]
    assert asked == ["0", "1"]
    assert len(pauses) == 1


def test_a_stream_that_ends_early_is_taken_up(pauses: list[float]) -> None:
    """A clean end before the terminal event, also amid an event, is an interruption; so are 503 and 'nobody answers'."""
    streams: Iterator[httpx2.Response | None] = iter(
        [
            stream(sse(RUNNING) + sse(SUCCEEDED)[:-9]),
            httpx2.Response(503, headers={"Retry-After": "7"}, json={}),
            None,
            stream(sse(SUCCEEDED)),
        ]
    )
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.headers["Last-Event-ID"])
        if (answered := next(streams)) is None:
            raise httpx2.ConnectError("refused")
        return answered

    with client(answer) as trainyard:
        events = list(trainyard.events("job_1"))

    assert events == [RUNNING, SUCCEEDED]
    assert asked == ["0", "1", "1", "1"]
    assert pauses == [0.2, 7.0, 0.8]


@pytest.mark.parametrize("answered", ["ended", "busy", "nobody"])
def test_a_stream_is_not_taken_up_for_ever(pauses: list[float], answered: str) -> None:
    """Streams that bring nothing, one after the other, end in Unreachable, with longer and longer pauses up to a limit."""
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        if not request.url.path.endswith("/events"):
            return httpx2.Response(200, json={"state": "running"})
        asked.append(request.url.path)
        if answered == "nobody":
            raise httpx2.ConnectError("refused")
        return stream(b"") if answered == "ended" else httpx2.Response(503, json={})

    with client(answer) as trainyard, pytest.raises(Unreachable):
        list(trainyard.events("job_1"))

    assert len(asked) == streaming.STREAM_TRIES == len(pauses) + 1
    assert pauses == sorted(pauses)
    assert pauses[-1] == patience.LONGEST_PAUSE


@pytest.mark.parametrize("sign_of_life", [b": still here\n\n", None])
def test_only_failures_in_a_row_count(pauses: list[float], sign_of_life: bytes | None) -> None:
    """Many interruptions do not add up while each stream brings an event, or a comment that says that it lives."""
    many = 3 * streaming.STREAM_TRIES
    asked: list[int] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        if not request.url.path.endswith("/events"):
            return httpx2.Response(200, json={"state": "running"})
        asked.append(int(request.headers["Last-Event-ID"]))
        return stream(sse(SUCCEEDED) if len(asked) == many else sign_of_life or sse(RUNNING | {"id": len(asked)}))

    with client(answer) as trainyard:
        events = list(trainyard.events("job_1"))

    assert events[-1] == SUCCEEDED
    assert asked == ([0] * many if sign_of_life else list(range(many)))
    assert set(pauses) == {0.2}


def test_nothing_comes_after_the_terminal_event() -> None:
    """Who had the last event already gets none, and is not kept waiting."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        if not request.url.path.endswith("/events"):
            return httpx2.Response(200, json={"state": "succeeded"})
        return stream(b"") if "event-stream" in request.headers["Accept"] else httpx2.Response(200, json={"data": []})

    with client(answer) as trainyard:
        assert list(trainyard.events("job_1", after=2)) == []


def test_the_stream_of_an_unknown_job_is_not_tried_again() -> None:
    """A refusal of the stream is the caller's at once."""
    with client(lambda _: httpx2.Response(404, json={"detail": "none"})) as trainyard, pytest.raises(NotFound):
        list(trainyard.events("job_1"))


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


def test_a_timeout_is_the_total(pauses: list[float]) -> None:
    """No request may take longer than what is left, and no pause that would outlast it is begun."""
    limits: list[float] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        limits.append(request.extensions["timeout"]["read"])
        if len(limits) == 1:
            return httpx2.Response(200, json={"state": "running"})
        return httpx2.Response(503, headers={"Retry-After": "10"}, json={"detail": "busy"})

    with client(answer) as trainyard, pytest.raises(Unreachable, match="busy"):
        trainyard.wait("job_1", timeout=8)

    assert len(limits) == 2
    assert all(limit <= 8 + connection.GRACE_SECONDS for limit in limits)
    assert pauses == []


def test_an_answer_that_comes_too_late_is_a_timeout() -> None:
    """A service that is still at it when the time is up raises TimeoutError; one that nobody runs is Unreachable."""

    def late(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadTimeout("timed out")

    def nobody(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    with client(late) as trainyard, pytest.raises(TimeoutError):
        trainyard.wait("job_1", timeout=0)
    with client(nobody) as trainyard, pytest.raises(Unreachable):
        trainyard.wait("job_1", timeout=0)


def serving(path: str, sha256: str, *, size: int = len(BODY)) -> Answering:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/artifacts"):
            return httpx2.Response(200, json={"data": [{"path": path, "size": size, "sha256": sha256, "url": "/file"}]})
        return httpx2.Response(200, content=BODY)

    return answer


def interrupted(*answers: httpx2.Response | Exception) -> tuple[Answering, list[str]]:
    """Serves one good file, but these answers first; and the list of what was asked for."""
    good, asked = serving("model.safetensors", hashlib.sha256(BODY).hexdigest()), []

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/file":
            asked.append(request.url.path)
            if len(asked) <= len(answers):
                if isinstance(first := answers[len(asked) - 1], Exception):
                    raise first
                return first
        return good(request)

    return answer, asked


def cut() -> Iterator[bytes]:
    yield BODY[:3]
    raise httpx2.ReadError("cut")


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


@pytest.mark.parametrize("size", [len(BODY) - 1, len(BODY) + 1])
def test_a_download_has_the_size_of_its_manifest(tmp_path: Path, size: int) -> None:
    """A file that is longer or shorter than the manifest says is Corrupt, and leaves nothing."""
    answer = serving("model.safetensors", hashlib.sha256(BODY).hexdigest(), size=size)

    with client(answer) as trainyard, pytest.raises(Corrupt):
        trainyard.download("job_1", tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_download_starts_again(tmp_path: Path, pauses: list[float]) -> None:
    """A cut in the midst, nobody there, and a busy service are tried again, and the file is whole."""
    answer, asked = interrupted(
        httpx2.Response(200, content=cut()), httpx2.ConnectError("refused"), httpx2.Response(503, headers={"Retry-After": "9"}, json={})
    )

    with client(answer) as trainyard:
        (written,) = trainyard.download("job_1", tmp_path)

    assert written.read_bytes() == BODY
    assert list(tmp_path.iterdir()) == [written]
    assert (len(asked), pauses) == (4, [0.2, 0.4, 9.0])


def serving_ranges(body: bytes, *, cut_after: int, others: int = 0) -> tuple[Answering, list[str | None]]:
    """A server that breaks off after so many bytes of each answer, and whose file was another one for its first `others` bytes at first."""
    asked: list[str | None] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/artifacts"):
            manifest = {"path": "model.safetensors", "size": len(body), "sha256": hashlib.sha256(body).hexdigest(), "url": "/file"}
            return httpx2.Response(200, json={"data": [manifest]})
        asked.append(request.headers.get("Range"))
        start = int((asked[-1] or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        data = (b"x" * others + body[others:] if len(asked) == 1 else body)[start:]

        def some() -> Iterator[bytes]:
            yield data[:cut_after]
            if len(data) > cut_after:
                raise httpx2.ReadError("cut")

        headers = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if asked[-1] else {}
        return httpx2.Response(206 if asked[-1] else 200, content=some(), headers=headers)

    return answer, asked


def test_a_download_goes_on_where_it_broke_off(tmp_path: Path, pauses: list[float]) -> None:
    """Each try asks for the bytes that are missing; tries that bring some do not add up, however many there are."""
    body = bytes(range(100))
    answer, asked = serving_ranges(body, cut_after=10)

    with client(answer) as trainyard:
        (written,) = trainyard.download("job_1", tmp_path)

    assert written.read_bytes() == body
    assert list(tmp_path.iterdir()) == [written]
    assert asked == [None, *(f"bytes={start}-" for start in range(10, 100, 10))]
    assert set(pauses) == {0.2}


def test_a_wrong_beginning_is_fetched_anew(tmp_path: Path, pauses: list[float]) -> None:
    """Where what was gone on with is not the manifest's file, all of it is asked for once more."""
    body = bytes(range(100))
    answer, asked = serving_ranges(body, cut_after=60, others=5)

    with client(answer) as trainyard:
        (written,) = trainyard.download("job_1", tmp_path)

    assert written.read_bytes() == body
    assert asked == [None, "bytes=60-", None, "bytes=60-"]
    assert len(pauses) == 2


def test_what_lies_there_is_not_fetched_again(tmp_path: Path) -> None:
    """A file of the manifest's digest is kept; another one of that name is replaced."""
    answer, asked = interrupted()

    with client(answer) as trainyard:
        trainyard.download("job_1", tmp_path)
        (kept,) = trainyard.download("job_1", tmp_path)
        kept.write_bytes(b"another")
        trainyard.download("job_1", tmp_path)

    assert kept.read_bytes() == BODY
    assert len(asked) == 2


def test_only_some_files_are_fetched(tmp_path: Path) -> None:
    """By name, by several, or by pattern; a name that nothing fits is NotFound, with what there is."""
    digest = hashlib.sha256(BODY).hexdigest()
    paths = ["model.safetensors", "plots/curves.png", "plots/other.png", "train.py"]
    manifest = [{"path": path, "size": len(BODY), "sha256": digest, "url": "/file"} for path in paths]

    def answer(request: httpx2.Request) -> httpx2.Response:
        return (
            httpx2.Response(200, json={"data": manifest}) if request.url.path.endswith("/artifacts") else httpx2.Response(200, content=BODY)
        )

    with client(answer) as trainyard:
        job = sdk.Job(trainyard, {"id": "job_1"})
        assert job.model_file(tmp_path) == tmp_path / "model.safetensors"
        assert job.download(tmp_path, only=["train.py", "plots/*"]) == [tmp_path / path for path in paths[1:]]
        with pytest.raises(NotFound, match=r"no model\.onnx; it left model\.safetensors, plots/curves\.png"):
            job.download(tmp_path, only="model.onnx")


@pytest.mark.parametrize("failure", ["gone", "nobody", "cut"])
def test_a_failed_download_leaves_nothing(tmp_path: Path, pauses: list[float], failure: str) -> None:
    """A refusal is not written and not tried again; where every try fails, what was written goes."""
    kinds: dict[str, tuple[type[ClientError], int]] = {"gone": (NotFound, 1), "nobody": (Unreachable, 5), "cut": (Unreachable, 5)}
    kind, tries = kinds[failure]
    answers: dict[str, Callable[[], httpx2.Response | Exception]] = {
        "gone": lambda: httpx2.Response(404, json={"detail": "gone"}),
        "nobody": lambda: httpx2.ConnectError("refused"),
        "cut": lambda: httpx2.Response(200, content=cut()),
    }
    answer, asked = interrupted(*(answers[failure]() for _ in range(tries)))

    with client(answer) as trainyard, pytest.raises(kind):
        trainyard.download("job_1", tmp_path / "folder")

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert len(asked) == tries == len(pauses) + 1


def test_a_refused_file_touches_no_folder(tmp_path: Path) -> None:
    """The status is looked at before anything is made on the disk."""
    answer, _ = interrupted(httpx2.Response(404, json={"detail": "gone"}))

    with client(answer) as trainyard, pytest.raises(NotFound):
        trainyard.download("job_1", tmp_path / "folder")

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


@pytest.mark.parametrize(
    "url", ["trainyard.test:8000", "ftp://trainyard.test", "http://", "http://h:port", "http://h:99999", "http://[::1", "\0"]
)
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    """What no request can be sent to raises BadRequest, with an example of an address."""
    with pytest.raises(BadRequest, match=r"http://127\.0\.0\.1:8000"):
        sdk.Client(url)


def test_a_key_that_is_none_is_refused_unseen() -> None:
    """A key that no header can hold raises BadRequest, which does not repeat it."""
    for key in ("geheim\n", "schlüssel"):
        with pytest.raises(BadRequest) as caught:
            sdk.Client("http://trainyard.test", key)

        assert key.strip() not in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        {"text": "<html>Welcome</html>", "headers": {"Content-Type": "text/html"}},
        {"json": ["Welcome"]},
        {"json": {"message": "Welcome"}},
        {"content": b"\xff\xfe\x00"},
        {"content": b""},
        {"content": b"not gzip", "headers": {"Content-Encoding": "gzip"}},
    ],
)
def test_another_server_at_the_address_is_recognised(answer: dict[str, Any]) -> None:
    """A good status without what Trainyard answers raises NotTrainyard, whatever was asked."""
    with client(lambda _: httpx2.Response(200, **answer)) as trainyard:
        asking: list[Callable[[], object]] = [
            lambda: trainyard.submit({}),
            lambda: trainyard.get("job_1"),
            trainyard.page,
            lambda: list(trainyard.jobs()),
            lambda: trainyard.wait("job_1", timeout=1),
            lambda: list(trainyard.events("job_1")),
            lambda: trainyard.logs("job_1"),
            lambda: trainyard.metrics_csv("job_1"),
            lambda: trainyard.download("job_1", Path("nowhere")),
            trainyard.ready,
        ]
        for ask in asking:
            with pytest.raises(NotTrainyard, match="TRAINYARD_URL"):
                ask()
