"""Celery as it comes, with a task that does nothing but say when it began: `celery -A tests.bench.stock_celery worker --pool=threads`."""

from __future__ import annotations

import os
import time

import redis
from celery import Celery

BEGAN = "bench:began"
"""A list in Redis: the time at which each task's body began."""
app = Celery("stock", broker=os.environ.get("REDIS_URL", ""))


@app.task
def noop() -> None:
    """Nothing, and when."""
    began = time.time()
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        client.rpush(BEGAN, repr(began))
