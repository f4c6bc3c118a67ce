"""A loss that is no number, on a real service: failed by name, or gone back from."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file

from tests.corpus.not_a_number import bad_batches, body, seed_with
from tests.e2e.stack import Stack

LATE = seed_with(lambda bad: len(bad) == 1 and bad[0][0] == 1 and 4 < bad[0][1] < 40)


def weights(stack: Stack, job_id: str, folder: Path) -> dict:
    """The model's tensors."""
    stack.client.download(job_id, folder / job_id)
    return load_file(folder / job_id / "model.safetensors")


def test_a_loss_that_is_no_number_fails_the_job_by_step_and_batch(stack: Stack):
    """At once, however many retries there are: the next attempt would end alike."""
    stack.have_worker()
    epoch, number = bad_batches(LATE)[0]

    job = stack.client.wait(stack.client.submit(body(LATE))["id"], timeout=60)

    assert (job["state"], job["reason"], job["attempt"]) == ("failed", "nan_loss", 1)
    assert f"step {epoch * 50 + number + 1} (batch {number + 1} of epoch {epoch + 1})" in job["error"]["message"]


def test_a_job_goes_back_and_leaves_out_the_batches_that_led_there(stack: Stack, tmp_path: Path):
    """From the first epoch's checkpoint on; told in warnings and events; the resolved spec, sent as it is, gives equal weights in one go."""
    stack.have_worker()
    epoch, number = bad_batches(LATE)[0]

    job = stack.client.wait(stack.client.submit(body(LATE, nan_loss="roll_back"))["id"], timeout=60)
    scratch = stack.client.wait(stack.client.submit(job["resolved_spec"])["id"], timeout=60)

    assert (job["state"], job["attempt"], job["retries"]) == ("succeeded", 2, 1)
    assert "nan_loss" in {step["reason"] for step in job["transitions"]}
    assert "resuming after step 50" in stack.client.logs(job["id"])
    assert job["resolved_spec"]["training"]["skip_batches"] == [[epoch, number - 1], [epoch, number]]
    [warning] = [each for each in job["warnings"] if each["code"] == "batches_left_out"]
    assert f"[{epoch}, {number - 1}], [{epoch}, {number}]" in warning["detail"]
    assert "changed" in {event["type"] for event in stack.client.events(job["id"])}
    assert (scratch["state"], scratch["attempt"]) == ("succeeded", 1)
    ours, again = weights(stack, job["id"], tmp_path), weights(stack, scratch["id"], tmp_path)
    assert all(ours[name].equal(tensor) for name, tensor in again.items())


def test_going_back_ends_with_the_retries(stack: Stack):
    """Where every batch leads there: the last step is named, the windows have doubled."""
    stack.have_worker()
    spec = body(0, nan_loss="roll_back") | {"optimizer": {"type": "SGD", "lr": 1e30}, "loss": "CrossEntropyLoss"}

    job = stack.client.wait(stack.client.submit(spec | {"resources": {"max_retries": 2}})["id"], timeout=60)

    assert (job["state"], job["reason"], job["attempt"], job["retries"]) == ("failed", "nan_loss", 3, 2)
    assert "step 2" in job["error"]["message"]
    assert len(job["resolved_spec"]["training"]["skip_batches"]) > 2
