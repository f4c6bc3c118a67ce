"""What is sent, how it is signed, and when it is tried again."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from service.webhooks.delivery import PAUSES, Answer, Delivery, Facts, judged
from service.webhooks.signing import new_secret, signed

DELIVERY = Delivery(
    id="msg_1",
    project="default",
    job_id="job_1",
    url="https://hooks.example.com/secret-token",
    event="failed",
    facts=Facts(name="mnist", reason="bad_data", attempt=2, metrics={"train_loss": 0.1}),
    created_at=datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC),
)


def test_the_body_is_small_and_says_where_the_job_went() -> None:
    """Neither spec nor URL is in it."""
    told = json.loads(DELIVERY.body())

    assert (told["type"], told["timestamp"]) == ("job.failed", "2026-01-02T03:04:05.678Z")
    data = told["data"]
    assert {name: data[name] for name in ("id", "name", "state", "reason", "attempt", "metrics")} == {
        "id": "job_1",
        "name": "mnist",
        "state": "failed",
        "reason": "bad_data",
        "attempt": 2,
        "metrics": {"train_loss": 0.1},
    }
    assert data["links"]["self"] == "/v1/jobs/job_1"
    assert b"secret-token" not in DELIVERY.body()
    assert b"spec" not in DELIVERY.body()


def test_another_librarys_eyes_find_the_signature_right() -> None:
    """Those of the standard's own."""
    secret, body, now = new_secret(), DELIVERY.body(), int(time.time())
    headers = signed(body, id=DELIVERY.id, at=now, keys=[secret])

    assert Webhook(secret).verify(body, headers) == json.loads(body)
    for changed in (
        {"webhook-id": "msg_2"},
        {"webhook-timestamp": str(now - 1)},
        {"webhook-signature": headers["webhook-signature"][:-4] + "AAA="},
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, headers | changed)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body + b" ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(body, headers)


def test_while_a_secret_is_changed_receivers_of_either_are_content() -> None:
    old, new, body = new_secret(), new_secret(), DELIVERY.body()
    headers = signed(body, id="msg_1", at=int(time.time()), keys=[new, old])

    for secret in (old, new):
        Webhook(secret).verify(body, headers)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_a_2xx_ends_it(status: int) -> None:
    assert judged(Answer(seconds=0, status=status), tries=1, chance=0).kind == "delivered"


@pytest.mark.parametrize("status", [None, 100, 301, 302, 307, 400, 401, 404, 408, 429, 500, 503])
def test_everything_else_is_tried_again(status: int | None) -> None:
    """A redirect, too: it is not followed."""
    verdict = judged(Answer(seconds=0, status=status), tries=1, chance=0)

    assert (verdict.kind, verdict.after, verdict.gone) == ("again", PAUSES[0], False)


def test_pauses_grow_with_some_chance_and_end() -> None:
    answer = Answer(seconds=0, status=500)
    pauses = [judged(answer, tries=tries, chance=0).after for tries in range(1, len(PAUSES) + 1)]
    last = judged(answer, tries=len(PAUSES) + 1, chance=0)

    assert pauses == list(PAUSES) == sorted(PAUSES)
    assert 60 * 3600 < sum(pauses) < 90 * 3600
    assert judged(answer, tries=2, chance=1).after == pytest.approx(330)
    assert (last.kind, last.reason) == ("failed", "Given up after 10 attempts.")


@pytest.mark.parametrize(("asked", "pause"), [(None, 5.0), (2.0, 5.0), (120.0, 120.0), (1e9, 86400.0)])
def test_retry_after_makes_a_pause_longer_and_never_shorter(asked: float | None, pause: float) -> None:
    assert judged(Answer(seconds=0, status=503, retry_after=asked), tries=1, chance=0).after == pause


def test_a_week_is_the_longest_that_anything_is_tried() -> None:
    """Whoever takes it then has it all the same."""
    old = {"tries": 1, "age": 8 * 86400.0, "chance": 0}

    assert judged(Answer(seconds=0, status=500), **old).reason == "Given up after a week."
    assert judged(Answer(seconds=0, status=200), **old).kind == "delivered"


def test_410_ends_all_that_goes_there() -> None:
    verdict = judged(Answer(seconds=0, status=410), tries=1, chance=0)

    assert (verdict.kind, verdict.gone) == ("failed", True)
    assert verdict.reason is not None
