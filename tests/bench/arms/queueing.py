"""Arm 7: from the moment a job is accepted to the moment it runs, on an idle warm worker, beside Celery as it comes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

import redis

from tests.bench.arms.service import small_net, trainyard
from tests.bench.harness import Result, blocks, compared, measured
from tests.bench.noop_worker import IDLE
from tests.bench.stock_celery import BEGAN, app, noop
from tests.e2e.stack import ROOT, Stack, end, until

JOBS = 40
"""Of one run of an arm."""
APART = 0.03
"""Seconds between the end of one and the next: the worker waits again by then."""


@contextmanager
def worker(command: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    """A worker process, ended at the end."""
    with log.open("wb") as out:
        child = subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment, stdout=out, stderr=out, start_new_session=True)
        try:
            yield
        finally:
            end(child)


def measure() -> list[Result]:
    """Milliseconds to running, alone and over Celery's; medians of each run."""
    with trainyard() as (_, stack, url), redis.Redis.from_url(url, socket_timeout=60) as store:
        environment = stack.environment | {"TRAINYARD_ZYGOTE_LOG": str(stack.folder / "zygote.log"), "PYTHONPATH": str(ROOT)}
        ours = ["-m", "tests.bench.noop_worker", "--device", "cpu", "--slots", "1", "--name", "bench"]
        stock = ["-m", "celery", "-A", "tests.bench.stock_celery", "worker", "--pool=threads", "--concurrency=1", "--loglevel=WARNING"]
        with worker(ours, environment, stack.folder / "worker.log"), worker(stock, environment, stack.folder / "stock.log"):
            app.conf.broker_url = url
            until(lambda: int(stack.client.ready()["parts"]["workers"]) > 0, seconds=60)
            _stock_run(store, 1)
            stack.client.validate(small_net(0))
            numbers, seen = count(1), list[float]()

            def to_running() -> float:
                taken = [_to_running(stack, store, next(numbers)) for _ in range(JOBS)]
                seen.append(statistics.median(taken))
                return seen[-1]

            row = compared(
                blocks(to_running, lambda: _stock_run(store, JOBS)),
                arm="7",
                what="no-op job accepted -> running / stock Celery's delay() -> task body, p50",
                better="lower",
                target=0.8,
                floor=1.2,
            )
            alone = measured(seen[2:], arm="7", what="no-op job accepted -> running, p50", unit="ms", better="lower", target=5, floor=15)
            return [alone, row]


def _to_running(stack: Stack, store: redis.Redis, number: int) -> float:
    """Milliseconds by the record: the moment of the claim, which the store keeps as whole ms (half of one is lost on average), less that of the POST."""
    job = stack.client.submit(small_net(number))["id"]
    answer = store.blpop([IDLE], timeout=30)
    assert answer is not None, "nobody answered the ring"
    assert answer[1] == job.encode(), "an earlier job ended only now"
    record: dict[str, Any] = stack.client.get(job)
    running = next(step["at"] for step in record["transitions"] if step["state"] == "running")
    Event().wait(APART)
    return (datetime.fromisoformat(running) - datetime.fromisoformat(record["created_at"])).total_seconds() * 1000 + 0.5


def _stock_run(store: redis.Redis, times: int) -> float:
    taken = []
    for _ in range(times):
        sent = time.time()
        noop.delay()
        answer = store.blpop([BEGAN], timeout=30)
        assert answer, "stock Celery did not answer"
        taken.append((float(answer[1]) - sent) * 1000)
        Event().wait(APART)
    return statistics.median(taken)
