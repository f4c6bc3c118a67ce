"""Storage that is away, for a while or for good; checkpoints that cannot be read; uploads that were never completed."""

from __future__ import annotations

from typing import Any

from tests.e2e.faults.house import BUCKET, House
from tests.e2e.faults.proxy import Delay, Pass
from tests.e2e.stack import until


def slow(quick: dict[str, Any]) -> dict[str, Any]:
    """A job of some seconds."""
    return quick | {"epochs": 60, "checkpoint": {"every_n_epochs": 5, "keep_last": 2}}


def epochs(house: House, job_id: str) -> list[int]:
    """The epochs of the job's metric rows."""
    return [row["epoch"] for row in house.client.metrics(job_id)]


def test_storage_that_is_away_is_waited_for(house: House, quick: dict[str, Any]):
    """Training goes on while the S3 server is dead, the job says so, and what waited is uploaded once it is back."""
    worker = house.worker("patient").start()
    job = house.client.submit(slow(quick))["id"]
    house.until_event(job, "checkpoint")

    house.s3.kill()
    said = house.until_event(job, "storage")
    until(lambda: house.client.get(job)["phase"] == "exporting", seconds=90)  # trained to the end
    waiting = list((house.folder / "work" / "attempts").rglob("checkpoints/*"))
    house.s3.start()
    ended = house.client.wait(job, timeout=120)

    assert "does not answer" in said["message"]
    assert len(waiting) <= 3  # the one being uploaded, and keep_last
    assert (ended["state"], ended["attempt"]) == ("succeeded", 1)
    assert any("is back" in event["message"] for event in house.client.past_events(job) if event["type"] == "storage")
    assert epochs(house, job) == list(range(1, 61))
    worker.stop()


def test_storage_that_is_slow_costs_training_nothing(house: House, quick: dict[str, Any]):
    """Epochs go by while one checkpoint is put; a pause's is committed all the same, and with it the best weights, whenever they were found."""
    worker = house.worker("waiting for puts").start()
    spec = quick | {"epochs": 200, "checkpoint": {"monitor": "val_loss", "mode": "min"}}
    spec |= {"dataset": quick["dataset"] | {"validation_split": 0.2}}
    reference = house.weights(house.run(spec))

    house.to_s3.set(Delay(0.3))
    job = house.client.submit(spec)["id"]
    until(lambda: epochs(house, job)[40:], seconds=30)
    committed = len(_steps(house, job))
    house.client.pause(job)
    paused = house.client.get(job, wait=30, leaving="running")
    newest = max(_steps(house, job))
    house.to_s3.set(Pass())
    house.client.resume(job)
    ended = house.client.wait(job, timeout=60)

    assert committed < 10
    assert (paused["state"], paused["progress"]["step"]) == ("paused", newest)
    assert f"resuming after step {newest}" in house.client.logs(job)
    assert house.weights(ended) == reference
    assert epochs(house, job) == list(range(1, 201))
    worker.stop()


def test_storage_that_stays_away_fails_the_job_and_keeps_its_files(house: House, quick: dict[str, Any]):
    """The error names the folder on the worker; a retry, once storage is back, goes on from the last committed checkpoint."""
    worker = house.worker("impatient", TRAINYARD_STORAGE_PATIENCE_SECONDS="1").start()
    job = house.client.submit(slow(quick))["id"]
    house.until_event(job, "checkpoint")

    house.s3.kill()
    ended = house.client.wait(job, timeout=60)
    house.s3.start()

    assert (ended["state"], ended["reason"]) == ("failed", "storage")
    [kept] = (house.folder / "work" / "kept").iterdir()
    assert str(kept) in ended["error"]["hint"]
    assert list(kept.rglob("model.safetensors"))
    again = house.client.wait(house.client.retry(job)["id"], timeout=120)
    assert again["state"] == "succeeded"
    assert "resuming after step" in house.client.logs(again["id"])
    assert epochs(house, again["id"]) == list(range(1, 61))
    worker.stop()


def test_a_spoilt_checkpoint_is_passed_over_for_the_one_before(house: House, quick: dict[str, Any]):
    """A flipped byte in the newest: the SHA-256 tells, the log says why, and the weights are those of an undisturbed run."""
    worker = house.worker("careful").start()
    spec = slow(quick) | {"epochs": 400}  # still training when it is paused
    reference = house.weights(house.run(spec))
    job = house.client.submit(spec)["id"]
    until(lambda: _steps(house, job)[1:], seconds=30)
    house.client.pause(job)
    house.client.get(job, wait=10, leaving="running")

    newest = max(_steps(house, job))
    [spoilt] = [key for key in house.keys(f"projects/default/jobs/{job}/attempts/") if key.endswith(f"/{newest}/state.pt")]
    data = bytearray(house.read(spoilt))
    data[len(data) // 2] ^= 1
    house.bucket.put_object(Bucket=BUCKET, Key=spoilt, Body=bytes(data))
    house.client.resume(job)
    ended = house.client.wait(job, timeout=120)

    assert ended["state"] == "succeeded"
    assert f"the checkpoint at step {newest} cannot be used" in house.client.logs(job)
    assert f"resuming after step {newest}" not in house.client.logs(job)
    assert house.weights(ended) == reference
    assert epochs(house, job) == list(range(1, 401))
    worker.stop()


def test_when_no_checkpoint_can_be_read_training_begins_anew(house: House, quick: dict[str, Any]):
    """Each is named in the log, and the weights are the same."""
    worker = house.worker("anew").start()
    spec = slow(quick) | {"epochs": 400}  # still training when it is paused
    reference = house.weights(house.run(spec))
    job = house.client.submit(spec)["id"]
    until(lambda: _steps(house, job)[1:], seconds=30)
    house.client.pause(job)
    house.client.get(job, wait=10, leaving="running")

    for key in house.keys(f"projects/default/jobs/{job}/attempts/"):
        if key.endswith("manifest.json"):
            house.bucket.delete_object(Bucket=BUCKET, Key=key)
    house.client.resume(job)
    ended = house.client.wait(job, timeout=120)

    assert ended["state"] == "succeeded"
    assert "cannot be used" in house.client.logs(job)
    assert "resuming after step" not in house.client.logs(job)
    assert house.weights(ended) == reference
    worker.stop()


def test_an_upload_that_was_never_completed_is_aborted(house: House, quick: dict[str, Any]):
    """Once its job has ended; another job's stays."""
    worker = house.worker("tidy").start()
    job = house.client.submit(slow(quick))["id"]
    mine, other = f"projects/default/jobs/{job}/attempts/1/checkpoints/5/model.safetensors", "projects/default/jobs/other/attempts/1/x"
    for key in (mine, other):
        house.bucket.create_multipart_upload(Bucket=BUCKET, Key=key)
    assert _uploads(house) == [mine, other]

    house.client.cancel(job)

    until(lambda: _uploads(house) == [other], seconds=20)
    worker.stop()


def _steps(house: House, job_id: str) -> list[int]:
    """The steps of the committed checkpoints that the last attempt told of."""
    return [event["data"]["step"] for event in house.client.past_events(job_id) if event["type"] == "checkpoint"]


def _uploads(house: House) -> list[str]:
    return sorted(row["Key"] for row in house.bucket.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []))
