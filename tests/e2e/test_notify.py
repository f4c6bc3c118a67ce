"""Jobs that tell somebody where they go, with a real API, a real worker and a real receiver: told once, told although an API died, told to nobody else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from standardwebhooks import Webhook

from service.adapters import redis_jobs
from service.api.examples import examples
from service.client.errors import NotFound, Rejected, Unreachable
from service.jobs.job import Endpoint, Job
from service.spec.notify import ENDS
from tests.e2e.stack import ROOT, Stack, running_stack, until
from tests.receivers import receiving
from tests.servers import S3Server, running_valkey

TOKEN = "T0KEN-of-the-receiver"
ALLOWED = {"TRAINYARD_WEBHOOK_ALLOW": "127.0.0.1", "TRAINYARD_WEBHOOK_SECONDS": "2", "TRAINYARD_WEBHOOK_PAUSES": "0.3,0.3,0.3"}


@pytest.fixture(scope="module")
def service(valkey_url: str, s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An API for the whole file, whose operator allows loopback."""
    with running_stack(tmp_path_factory.mktemp("stack"), redis_url=valkey_url, s3=s3.environment(), **ALLOWED) as running:
        submitted(running, examples()["digits-mlp"])
        yield running


def notifying(spec: dict[str, Any], port: int, *events: str) -> dict[str, Any]:
    return {**spec, "notify": [{"url": f"http://127.0.0.1:{port}/{TOKEN}", **({"events": events} if events else {})}]}


def submitted(stack: Stack, spec: dict[str, Any]) -> str:
    """Its id. A new API's checking child takes its time to import torch, beside other tests more than any client waits."""
    found: list[str] = []

    def taken() -> bool:
        with suppress(Unreachable):
            found.append(stack.client.submit(spec).id)
        return bool(found)

    until(taken, seconds=240)
    return found[0]


def settled(stack: Stack, job_id: str) -> bool:
    return all(each["state"] != "pending" for each in stack.client.deliveries(job_id))


def test_a_job_tells_its_receiver_and_shows_the_secret_url_to_nobody(stack: Stack, small: dict[str, Any], s3: S3Server) -> None:
    """Signed, small, each event once; the path of the URL is in the record that a rebuild needs, and nowhere else."""
    with receiving() as receiver:
        stack.start_worker()
        job = stack.client.submit({**notifying(small, receiver.port, "running", "succeeded"), "name": "told"})
        stack.client.wait(job.id, timeout=60)
        until(lambda: settled(stack, job.id), seconds=20)

        secret = stack.client.webhook_secret()["secret"]
        told = [Webhook(secret).verify(each.body, each.headers) for each in receiver.came]

    assert [each["type"] for each in told] == ["job.running", "job.succeeded"]
    assert told[1]["data"]["name"] == "told"
    assert 0 < told[1]["data"]["metrics"]["test_accuracy"] <= 1
    assert "spec" not in told[1]["data"]
    now = stack.client.get(job.id)
    assert now["spec"]["notify"] == [{"url": f"http://127.0.0.1:{receiver.port}/…", "events": ["running", "succeeded"]}]
    assert now["links"]["deliveries"] == f"/v1/jobs/{job.id}/deliveries"
    deliveries = stack.client.deliveries(job.id)
    assert [(each["type"], each["state"], len(each["attempts"]), each["attempts"][0]["status"]) for each in deliveries] == [
        ("job.running", "delivered", 1, 204),
        ("job.succeeded", "delivered", 1, 204),
    ]
    said = json.dumps([dict(now), list(deliveries), list(stack.client.past_events(job.id)), stack.client.logs(job.id)])
    logs = "".join(path.read_text() for path in stack.folder.glob("*.log"))
    record = s3.root / "trainyard" / "projects" / "default" / "jobs" / job.id / "job.json"
    until(lambda: record.exists() and '"succeeded"' in record.read_text(), seconds=20)
    holding = [path.name for path in record.parent.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert (TOKEN in said, TOKEN in logs, holding) == (False, False, ["job.json"])
    assert TOKEN in record.read_text(), "a rebuild tells whom the job told"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://10.0.0.1/hook", "closed_address"),
        ("https://169.254.169.254/latest/meta-data", "closed_address"),
        ("https://[::ffff:10.0.0.1]/hook", "closed_address"),
        ("http://93.184.216.34/hook", "closed_address"),
        ("https://93.184.216.34:25/hook", "closed_address"),
        ("https://2130706433/hook", "bad_url"),
        ("https://hooks.example.com/…", "hidden_url"),
    ],
)
def test_what_must_not_be_reached_is_refused_with_its_place(stack: Stack, small: dict[str, Any], url: str, code: str) -> None:
    """By validate and by submit, beside everything else that is wrong."""
    spec = {**small, "epochs": -1, "notify": [{"url": "http://127.0.0.1:9/"}, {"url": url}]}

    with pytest.raises(Rejected) as refused:
        stack.client.submit(spec)

    assert [(each["pointer"], each["code"]) for each in refused.value.faults][1:] == [("/notify/1/url", code)]
    assert [each["pointer"] for each in stack.client.validate(spec)["errors"]] == ["/epochs", "/notify/1/url"]


def test_a_name_without_an_address_is_a_warning(stack: Stack, small: dict[str, Any]) -> None:
    """It may have one when the job ends."""
    job = stack.client.submit({**small, "notify": [{"url": "https://nowhere.invalid/hook"}]})

    assert [(each.code, each.pointer) for each in job.warnings if each.code == "unresolved_host"] == [("unresolved_host", "/notify/0/url")]
    stack.client.cancel(job.id)
    until(lambda: stack.client.deliveries(job.id)[0]["attempts"], seconds=20)
    assert "not reached" in stack.client.deliveries(job.id)[0]["attempts"][0]["error"]


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[str]:
    """A Redis of the test's own: the API of the file must not tell for those that died."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    with running_valkey(tmp_path / "valkey") as url:
        yield url


def test_what_happened_while_no_api_lived_is_told_by_the_next(apart: str, s3: S3Server, small: dict[str, Any], tmp_path: Path) -> None:
    """The API is killed while the job waits; the worker ends the job; a new API tells of it."""
    with receiving() as receiver:
        with running_stack(tmp_path / "first", redis_url=apart, s3=s3.environment(), **ALLOWED) as first:
            job_id = submitted(first, notifying(small, receiver.port))
            os.kill(first.api_pid, signal.SIGKILL)
            _work(first, apart, job_id)
        assert receiver.came == []

        with running_stack(tmp_path / "second", redis_url=apart, s3=s3.environment(), **ALLOWED) as second:
            until(lambda: settled(second, job_id), seconds=20)

            (delivery,) = second.client.deliveries(job_id)
    assert (delivery["type"], delivery["state"], receiver.ids) == ("job.succeeded", "delivered", [delivery["id"]])


def _work(stack: Stack, redis_url: str, job_id: str) -> None:
    """A worker that ends the job, beside no API at all."""
    command = [sys.executable, "-m", "worker.main", "--device", "cpu", "--name", "alone"]
    with (stack.folder / "worker.log").open("wb") as log, redis.Redis.from_url(redis_url) as client:
        worker = subprocess.Popen(command, cwd=ROOT, env=stack.environment, stdout=log, stderr=log, start_new_session=True)
        stack.workers.append(worker)
        until(lambda: client.hget(f"ty:job:{job_id}", "state") == b"succeeded", seconds=120)
    stack.end_workers()


@pytest.mark.long
def test_an_api_that_is_killed_while_it_sends_is_followed_by_another(apart: str, s3: S3Server, tmp_path: Path) -> None:
    """After its lease, under the same id, with the same body: a receiver that took the first knows the second."""
    settings = ALLOWED | {"TRAINYARD_WEBHOOK_SECONDS": "1"}
    with receiving() as receiver:
        receiver.hold = threading.Event()
        with running_stack(tmp_path / "first", redis_url=apart, s3=s3.environment(), **settings) as first:
            job_id = _cancelled(apart, receiver.port)
            until(lambda: receiver.came, seconds=10)
            os.kill(first.api_pid, signal.SIGKILL)
        receiver.hold.set()
        with running_stack(tmp_path / "second", redis_url=apart, s3=s3.environment(), **settings) as second:
            until(lambda: settled(second, job_id), seconds=40)
            (delivery,) = second.client.deliveries(job_id)

    assert delivery["state"] == "delivered"
    assert receiver.ids == [delivery["id"]] * 2
    assert len({each.body for each in receiver.came}) == 1


def _cancelled(redis_url: str, port: int) -> str:
    """A job that has ended, and tells: put there without an API's check, which takes its time."""
    stores, notify = redis_jobs.connect(redis_url), (Endpoint(url=f"http://127.0.0.1:{port}/{TOKEN}", events=ENDS),)
    job = Job(id="job_" + "0" * 21, created_at=datetime.now(tz=UTC), notify=notify, spec={})
    stores.jobs.submit(job, idempotency=None)
    stores.requests.cancel(job.project, job.id)
    stores.close()
    return job.id


@pytest.mark.long
def test_two_apis_tell_each_thing_once(stack: Stack, valkey_url: str, s3: S3Server, small: dict[str, Any], tmp_path: Path) -> None:
    """Thirty jobs, both at work."""
    with receiving() as receiver, running_stack(tmp_path, redis_url=valkey_url, s3=s3.environment(), **ALLOWED) as other:
        jobs = [stack.client.submit(notifying(small, receiver.port)).id for _ in range(30)]
        for job_id in jobs:
            stack.client.cancel(job_id)
        until(lambda: all(settled(other, job_id) for job_id in jobs), seconds=30)

    assert len(receiver.came) == len(set(receiver.ids)) == 30
    assert {json.loads(each.body)["data"]["id"] for each in receiver.came} == set(jobs)


def test_a_retry_tells_the_same_endpoints(stack: Stack, small: dict[str, Any]) -> None:
    """Though its spec shows only where to."""
    with receiving() as receiver:
        job = stack.client.submit(notifying(small, receiver.port, "cancelled"))
        stack.client.cancel(job.id)
        again = stack.client.retry(job.id)
        stack.client.cancel(again.id)
        until(lambda: len(receiver.came) == 2, seconds=20)

    assert {json.loads(each.body)["data"]["id"] for each in receiver.came} == {job.id, again.id}
    assert {each.path for each in receiver.came} == {f"/{TOKEN}"}


def test_by_command_one_sees_what_was_sent_and_sends_it_again(stack: Stack, small: dict[str, Any]) -> None:
    """Given up, shown with the reason, replayed, taken; and the secret is shown and changed."""
    with receiving() as receiver:
        receiver.reply = lambda _: (500, {})
        job = stack.client.submit(notifying(small, receiver.port))
        stack.client.cancel(job.id)
        until(lambda: settled(stack, job.id), seconds=20)
        shown, hint = _command(stack, "deliveries", job.id)
        (delivery,) = json.loads(_command(stack, "deliveries", job.id, "--json")[0])
        receiver.reply = lambda _: (200, {})
        replayed, _ = _command(stack, "replay", job.id, delivery["id"])
        until(lambda: settled(stack, job.id), seconds=20)

    assert "answered 500" in shown
    assert f"trainyard replay {job.id} {delivery['id']}" in hint
    assert (delivery["state"], delivery["reason"], len(delivery["attempts"])) == ("failed", "Given up after 4 attempts.", 4)
    assert replayed.split() == [delivery["id"], "pending"]
    assert stack.client.deliveries(job.id)[0]["state"] == "delivered"
    with pytest.raises(NotFound, match="no delivery"):
        stack.client.replay(job.id, "msg_0")

    first = _command(stack, "secret")[0].strip()
    second, hint = _command(stack, "secret", "--rotate")
    assert first.startswith("whsec_")
    assert second.startswith("whsec_")
    assert first != second.strip()
    assert "until" in hint
    assert stack.client.webhook_secret()["previous"] == first


def _command(stack: Stack, *words: str) -> tuple[str, str]:
    environment = stack.environment | {"TRAINYARD_URL": stack.client.url, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "service.client.cli", *words]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout, done.stderr


def test_the_page_of_a_job_shows_its_webhooks(stack: Stack, small: dict[str, Any]) -> None:
    """With a button to send each again; a job that tells nobody has no such part."""
    silent = stack.client.submit(small)
    job = stack.client.submit(notifying(small, 9))
    stack.client.cancel(job.id)
    until(lambda: stack.client.deliveries(job.id)[0]["attempts"], seconds=20)

    def page(address: str) -> str:
        return stack.client._ask("GET", address, headers={"Accept": "text/html"}).text

    part = page(f"/ui/jobs/{job.id}/deliveries")
    assert f'data-post="/v1/jobs/{job.id}/deliveries/{stack.client.deliveries(job.id)[0]["id"]}/replay"' in part
    assert "not reached" in part
    assert TOKEN not in part
    assert f"/ui/jobs/{job.id}/deliveries" in page(f"/jobs/{job.id}")
    assert "/deliveries" not in page(f"/jobs/{silent.id}")


@pytest.mark.long
def test_settings_that_cannot_be_meant_are_refused_at_the_start(stack: Stack) -> None:
    """By name, without a trace."""
    for name, value in (("ALLOW", "10.0.0.1/8"), ("PAUSES", "5,-1"), ("CA_FILE", "/nowhere"), ("CA_FILE", __file__)):
        environment = stack.environment | {f"TRAINYARD_WEBHOOK_{name}": value}
        command = [sys.executable, "-m", "service.main"]
        start = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)

        assert start.returncode == 1
        assert f"TRAINYARD_WEBHOOK_{name}" in start.stderr
        assert "Traceback" not in start.stderr
