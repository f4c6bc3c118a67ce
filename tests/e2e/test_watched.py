"""A service that is watched: /metrics and the log of real processes say what happened, each to who may know it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.stack import Stack, running_stack, until
from tests.servers import S3Server

KEY, TOKEN = "the-key-of-this-test", "the-token-of-monitors"


@pytest.fixture(scope="module")
def watched(valkey_url: str, s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An API and a worker that log JSON, on an empty store."""
    settings = {"TRAINYARD_API_KEY": KEY, "TRAINYARD_METRICS_TOKEN": TOKEN, "TRAINYARD_LOG_FORMAT": "json"}
    with running_stack(tmp_path_factory.mktemp("watched"), redis_url=valkey_url, s3=s3.environment(), **settings) as running:
        running.start_worker()
        yield running


def scrape(url: str, *, token: str = TOKEN) -> dict[tuple[str, ...], float]:
    """Every sample by name and the values of its labels, in the order of the labels' names."""
    answer = httpx2.get(f"{url}/metrics", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200, answer.text
    families = text_string_to_metric_families(answer.text)
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def logged(stack: Stack, name: str) -> list[dict[str, Any]]:
    """The lines of a process's log."""
    return [json.loads(line) for line in (stack.folder / f"{name}.log").read_text().splitlines()]


def test_every_api_tells_the_same_of_jobs_and_each_its_own_requests(
    watched: Stack, small: dict[str, Any], valkey_url: str, s3: S3Server, tmp_path_factory: pytest.TempPathFactory
):
    """A job that succeeds, one that fails, one that waits for a GPU: counted by their ends, timed to their first step."""
    client, url = watched.client, watched.client.url
    client.wait(client.submit(small)["id"], timeout=60)
    broken = {**small, "optimizer": {"type": "SGD", "lr": 1e30}}
    assert client.wait(client.submit(broken)["id"], timeout=60)["state"] == "failed"
    client.submit({**small, "resources": {"device": "gpu"}})
    until(lambda: scrape(url)["trainyard_unsaved_records",] == 0, seconds=20)

    with running_stack(tmp_path_factory.mktemp("other"), redis_url=valkey_url, s3=s3.environment(), TRAINYARD_API_KEY=KEY) as other:
        here, there = scrape(url), scrape(other.client.url, token=KEY)

    for name, value in {
        ("trainyard_jobs_submitted_total", "cpu"): 2,
        ("trainyard_jobs_ended_total", "cpu", "", "succeeded"): 1,
        ("trainyard_jobs_ended_total", "cpu", "nan_loss", "failed"): 1,
        ("trainyard_attempts_ended_total", "cpu", "succeeded", ""): 1,
        ("trainyard_job_first_step_seconds_count", "cpu"): 2,
        ("trainyard_queue_jobs", "gpu", "default"): 1,
        ("trainyard_slots", "cpu"): 1,
    }.items():
        assert here[name] == there[name] == value, name
    assert 0 < here["trainyard_job_first_step_seconds_sum", "cpu"] < 60
    assert here["trainyard_http_requests_total", "POST", "/v1/jobs", "202"] == 3
    assert ("trainyard_http_requests_total", "POST", "/v1/jobs", "202") not in there
    assert not any(re.search(r"job_[0-9a-f]{21}", label) for name in here for label in name)


def test_streams_are_counted_while_they_are_open(watched: Stack, small: dict[str, Any]):
    """One, and none again."""
    waiting = watched.client.submit({**small, "resources": {"device": "gpu"}})["id"]
    headers = {"Authorization": f"Bearer {KEY}", "Accept": "text/event-stream"}
    with httpx2.stream("GET", f"{watched.client.url}/v1/jobs/{waiting}/events", headers=headers) as stream:
        lines = stream.iter_lines()
        assert next(lines)
        assert scrape(watched.client.url)["trainyard_event_streams",] == 1

    until(lambda: scrape(watched.client.url)["trainyard_event_streams",] == 0, seconds=20)


def test_metrics_are_for_who_has_the_token_or_a_key(watched: Stack):
    """The token opens nothing else."""
    url = watched.client.url

    assert httpx2.get(f"{url}/metrics").status_code == 401
    assert httpx2.get(f"{url}/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert httpx2.get(f"{url}/v1/jobs", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 401
    assert httpx2.get(f"{url}/metrics", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200


def test_each_request_has_a_line_and_an_id_and_health_checks_have_none(watched: Stack, small: dict[str, Any]):
    """With the route's template and the project; the client's own id where it sends one that is sane. The worker's lines name job and attempt."""
    url, headers = watched.client.url, {"Authorization": f"Bearer {KEY}"}
    job = watched.client.submit(small)["id"]
    watched.client.wait(job, timeout=60)
    own = httpx2.get(f"{url}/v1/jobs/{job}", headers={**headers, "X-Request-Id": "mine-1"})
    made = httpx2.get(f"{url}/v1/jobs/nobody", headers={**headers, "X-Request-Id": "not sane"})
    lost = httpx2.get(f"{url}/nowhere")
    httpx2.get(f"{url}/healthz")

    until(lambda: any(line.get("route") == "(none)" for line in logged(watched, "api")), seconds=10)
    lines = {line["request_id"]: line for line in logged(watched, "api") if line["logger"] == "trainyard.access"}
    assert own.headers["X-Request-Id"] == "mine-1"
    assert {name: lines["mine-1"][name] for name in ("method", "route", "status", "project", "role")} == {
        "method": "GET",
        "route": "/v1/jobs/{job_id}",
        "status": 200,
        "project": "default",
        "role": "api",
    }
    assert lines["mine-1"]["ms"] > 0
    assert lines[made.headers["X-Request-Id"]]["status"] == 404
    assert "project" not in lines[lost.headers["X-Request-Id"]]
    assert not any(line["route"] in ("/healthz", "/readyz", "/metrics") for line in lines.values())
    assert not any(job in line["route"] for line in lines.values())

    of_job = [line for line in logged(watched, "worker-1") if line.get("job") == job]
    assert [line["message"].partition(": ")[2] for line in of_job] == ["attempt 1 starts", "attempt 1 ended, the job is succeeded"]
    assert all((line["attempt"], line["project"], line["worker"], line["role"]) == (1, "default", "w1", "worker") for line in of_job)
    for name in ("api", "worker-1"):
        assert all(
            secret not in (watched.folder / f"{name}.log").read_text()
            for secret in (KEY, TOKEN, watched.environment["AWS_SECRET_ACCESS_KEY"])
        )
