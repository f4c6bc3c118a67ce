"""The doorbell: Celery messages on a real Valkey that wake, and carry nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from kombu import Connection

from service.adapters.celery_doorbell import ATTEMPT_TASK, CeleryDoorbell, LoopBell, OwnBell, celery_app
from service.jobs.errors import StoreUnavailable
from tests.servers import running_valkey


def rung(app: Celery, device: str) -> list[dict[str, object]]:
    """The messages that wait in a class's queue, taken out."""
    found = []
    with Connection(app.conf.broker_url, transport_options=app.conf.broker_transport_options) as connection:
        channel = connection.default_channel
        while (message := channel.basic_get(device, no_ack=True)) is not None:
            headers = {name: message.headers[name] for name in ("task", "expires")}
            found.append({**headers, "type": message.content_type, "body": json.loads(message.body)})
    return found


def test_a_ring_puts_so_many_messages_in_the_classs_queue(redis_url: str) -> None:
    """Three rings are three messages of the task, in JSON, without a job, for this class only."""
    app = celery_app(redis_url)

    CeleryDoorbell(app).ring("cpu", times=3)

    messages = rung(app, "cpu")
    assert [(message["task"], message["type"]) for message in messages] == [(ATTEMPT_TASK, "application/json")] * 3
    assert all(message["body"][:2] == [[], {}] for message in messages)  # type: ignore[index]  # args and kwargs
    assert {message["expires"] for message in messages} == {None}  # a time by the sender's clock: nothing to go by elsewhere
    assert rung(app, "gpu") == []
    app.close()


def test_a_broker_that_is_gone_is_unavailable(tmp_path: Path) -> None:
    """A ring that cannot be heard raises StoreUnavailable, soon."""
    with running_valkey(tmp_path) as url:
        app = celery_app(url)
        CeleryDoorbell(app).ring("gpu", times=1)

    with pytest.raises(StoreUnavailable, match="REDIS_URL"):
        CeleryDoorbell(app).ring("gpu", times=1)
    app.close()


def test_a_ring_from_an_event_loop_is_celerys_own_message(redis_url: str) -> None:
    """The same message, with ids that no other has; a class is rung for once in a while only, the rest is left to the Doorbell."""
    app = celery_app(redis_url)
    CeleryDoorbell(app).ring("cpu", times=1)
    bell, always, lost = LoopBell(app, seconds=2, apart=60), LoopBell(app, seconds=2, apart=0), list[str]()

    async def ring() -> list[bool]:
        asked = [(bell, "cpu"), (bell, "cpu"), (bell, "gpu"), (always, "cpu")]
        rung = [each.ring(device, lost=lambda: lost.append("lost")) for each, device in asked]
        await bell.aclose()
        await always.aclose()
        return rung

    assert asyncio.run(ring()) == [True, False, True, True]
    with redis.Redis.from_url(redis_url) as client:
        stock, *ours = [json.loads(text) for text in reversed(client.lrange("ty-bell:cpu", 0, -1))]
    assert len({message["headers"]["id"] for message in (stock, *ours)}) == 3
    assert len({message["properties"]["delivery_tag"] for message in (stock, *ours)}) == 3
    assert [_without_ids(message) for message in ours] == [_without_ids(stock)] * 2
    assert lost == []
    assert len(rung(app, "gpu")) == 1
    app.close()


def test_a_ring_from_an_event_loop_that_nobody_took_is_told(tmp_path: Path) -> None:
    """So that it can be rung another way."""
    with running_valkey(tmp_path) as url:
        app = celery_app(url)
    bell, lost = LoopBell(app, seconds=2), list[str]()

    async def ring() -> None:
        assert bell.ring("cpu", lost=lambda: lost.append("lost"))
        await bell.aclose()

    asyncio.run(ring())
    assert lost == ["lost"]


def _without_ids(message: dict[str, Any]) -> dict[str, Any]:
    headers = {name: value for name, value in message["headers"].items() if name not in ("id", "root_id")}
    properties = {
        name: value for name, value in message["properties"].items() if name not in ("correlation_id", "delivery_tag", "reply_to")
    }
    return {**message, "headers": headers, "properties": properties}


def test_a_workers_own_bell_leaves_nothing_behind(redis_url: str) -> None:
    """Neither the queue with what nobody took from it, nor its name among the bindings."""
    app = celery_app(redis_url)
    bell = OwnBell(app, "passing")
    bell.ring()
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        assert client.llen("ty-bell:own-passing") == 1

        bell.remove()

        assert client.keys("*own-passing*") == []
        assert not [member for member in client.smembers("ty-bell:_kombu.binding.celery") if "own-passing" in member]
    app.close()
