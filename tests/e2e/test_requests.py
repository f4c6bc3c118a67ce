"""Pause, resume, retry, delete and rebuild with real processes: no step is lost, nothing is left, the weights are the same."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import boto3
import pytest

from service.client.errors import Conflict, NotFound
from tests.e2e.stack import Stack, until
from tests.e2e.test_lost_workers import undisturbed, weights
from tests.servers import S3Server

BUCKET = "trainyard"


@pytest.fixture
def middling(long: dict) -> dict:
    """A job of some three seconds."""
    return long | {"epochs": 12}


def objects(s3: S3Server, job_id: str) -> list[str]:
    """The keys of everything that storage holds of a job."""
    keys = {"aws_access_key_id": s3.access_key, "aws_secret_access_key": s3.secret_key, "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=s3.endpoint_url, **keys)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"projects/default/jobs/{job_id}/")
    found = [row["Key"] for page in pages for row in page.get("Contents", [])]
    client.close()
    return found


def epochs(stack: Stack, job_id: str) -> list[int]:
    """The epochs of the job's metric rows."""
    return [row["epoch"] for row in stack.client.metrics(job_id)]


def test_a_paused_job_frees_its_worker_and_loses_no_step(stack: Stack, middling: dict, small: dict, tmp_path: Path):
    """Paused in mid-epoch; the worker runs another job; resumed it goes on to the weights of an undisturbed run."""
    stack.have_worker()
    job = stack.client.submit(middling)["id"]
    stack.until_event(job, "epoch")

    stack.client.pause(job)
    paused = stack.client.get(job, wait=10, leaving="running")
    other = stack.client.wait(stack.client.submit(small)["id"], timeout=60)
    stack.client.resume(job)
    ended = stack.client.wait(job, timeout=120)

    assert (paused["state"], other["state"]) == ("paused", "succeeded")
    assert (ended["state"], ended["attempt"], ended["retries"]) == ("succeeded", 2, 0)
    assert f"resuming after step {paused['progress']['step']}" in stack.client.logs(job)
    assert epochs(stack, job) == list(range(1, 13))
    assert weights(stack, job, tmp_path) == undisturbed(stack, middling, tmp_path)


def test_a_cancelled_job_is_retried_from_its_checkpoint(stack: Stack, middling: dict, s3: S3Server, tmp_path: Path):
    """The new job has the old one's rows up to there and ends with the weights of an undisturbed run; then the old one may go."""
    stack.have_worker()
    old = stack.client.submit(middling)["id"]
    stack.until_event(old, "checkpoint")
    stack.client.cancel(old)
    assert stack.client.wait(old, timeout=20)["state"] == "cancelled"

    new = stack.client.retry(old)
    ended = stack.client.wait(new["id"], timeout=120)

    assert (new["retry_of"], ended["state"]) == (old, "succeeded")
    assert "resuming after step" in stack.client.logs(new["id"])
    assert epochs(stack, new["id"]) == list(range(1, 13))
    stack.client.delete(old)
    until(lambda: objects(s3, old) == [], seconds=20)
    assert weights(stack, new["id"], tmp_path) == undisturbed(stack, middling, tmp_path)


def test_a_deleted_job_leaves_nothing(stack: Stack, small: dict, s3: S3Server):
    """Refused while it lives; then 404 at once on every path, and its objects go while others stay."""
    job, other = (stack.client.submit(small)["id"] for _ in range(2))
    with pytest.raises(Conflict):
        stack.client.delete(job)
    stack.have_worker()
    for each in (job, other):
        assert stack.client.wait(each, timeout=60)["state"] == "succeeded"

    stack.client.delete(job)

    for ask in (stack.client.get, stack.client.metrics, stack.client.logs, stack.client.artifacts, stack.client.delete, stack.client.retry):
        with pytest.raises(NotFound):
            ask(job)
    until(lambda: objects(s3, job) == [], seconds=20)
    assert [row["id"] for row in stack.client.page()["data"]] == [other]
    assert stack.client.artifacts(other)


@pytest.mark.long
def test_what_dead_attempts_left_is_removed_at_the_end(stack: Stack, middling: dict, s3: S3Server):
    """After two pauses and the end, storage holds the last attempt's artifacts and the kept checkpoints, and no other token's folder."""
    stack.have_worker()
    job = stack.client.submit(middling | {"epochs": 40})["id"]
    for _ in range(2):
        stack.until_event(job, "epoch")
        stack.client.pause(job)
        stack.client.get(job, wait=10, leaving="running")
        stack.client.resume(job)

    assert stack.client.wait(job, timeout=120)["state"] == "succeeded"

    def folders() -> set[str]:
        return {"/".join(key.split("/")[5:8]) for key in objects(s3, job) if "/attempts/" in key and "/artifacts/" not in key}

    until(lambda: len(folders()) == 2, seconds=20)  # checkpoint.keep_last
    assert len({key.split("/")[5] for key in objects(s3, job) if "/artifacts/" in key}) == 1


def test_a_drained_workers_job_starts_elsewhere_at_once(stack: Stack, long: dict):
    """SIGTERM with another slot idle: running again within five seconds, after the very step that was the last."""
    first = stack.start_worker()
    job = stack.client.submit(long)["id"]
    stack.until_event(job, "epoch")
    stack.start_worker()

    first.send_signal(signal.SIGTERM)
    began = time.monotonic()
    until(lambda: stack.client.get(job)["attempt"] == 2, seconds=20)
    took = time.monotonic() - began
    stack.until_event(job, "epoch")

    moves = stack.client.get(job)["transitions"]
    drained = next(move for move in moves if move["reason"] == "drained")
    assert took < 10  # five on a machine that is not shared; the figure stands in the note
    assert drained["state"] == "queued"
    stack.client.cancel(job)


def test_a_job_out_of_time_keeps_its_last_step(stack: Stack, long: dict):
    """It fails with the reason and the cure, after a checkpoint of the step that it had reached; a retry goes on from that step."""
    stack.have_worker()
    spec = long | {"resources": {"timeout_seconds": 3}}
    job = stack.client.wait(stack.client.submit(spec)["id"], timeout=60)

    again = stack.client.retry(job["id"])["id"]
    stack.until_event(again, "epoch")

    assert (job["state"], job["reason"]) == ("failed", "timed_out")
    assert "retry" in job["error"]["hint"]
    assert job["progress"]["step"] > 0
    assert f"resuming after step {job['progress']['step']}" in stack.client.logs(again)
    stack.client.cancel(again)
