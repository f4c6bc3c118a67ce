"""Arm 10: what a million ended jobs and two thousand watchers cost: the time of a list, bytes of Redis, processor time of the API."""

from __future__ import annotations

import os
import resource
import selectors
import socket
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from threading import Event

import httpx2
import redis

from tests.bench.arms.service import Server, small_net, trainyard
from tests.bench.ended import multiply, run_all
from tests.bench.harness import Result, blocks, compared, measured, told
from tests.bench.load import processor_seconds
from tests.e2e.stack import Stack, until

MANY = int(os.environ.get("TRAINYARD_BENCH_JOBS", "1000000"))
FEW = 1000
MADE = 40
"""Jobs that are really run through the store; the others are copies of them."""
LISTS = 40
WATCHERS, WINDOW_SECONDS, WINDOWS = 2000, 20.0, 3


def measure() -> list[Result]:
    """The list's ratio, the bytes, the watchers."""
    with trainyard() as (_, large, large_url), trainyard() as (server, small, small_url):
        per_job = _fill(large, large_url, MANY)
        _fill(small, small_url, FEW)
        row = compared(
            blocks(lambda: _list_p50(large), lambda: _list_p50(small)),
            arm="10",
            what=f"GET /v1/jobs p50, {MANY:,} ended jobs / {FEW:,}",
            better="lower",
            target=1.3,
            floor=2,
        )
        size = Result(
            arm="10",
            what="Redis bytes per ended job",
            value=per_job,
            low=per_job,
            high=per_job,
            unit="B",
            better="lower",
            target=1228,
            floor=2048,
        )
        return [row, size, _watched(server, small, small_url)]


def _fill(stack: Stack, url: str, count: int) -> float:
    """Ended jobs, and what each takes of Redis."""
    with redis.Redis.from_url(url) as client:
        client.config_set("maxmemory", "8gb")
        client.config_set("appendonly", "no")  # the disk is not what is measured
        for number in range(MADE):
            stack.client.submit(small_net(number))
        jobs = run_all(url)
        before = client.info("memory")["used_memory"]
        started = time.perf_counter()
        multiply(url, jobs, count - MADE)
        per_job = (client.info("memory")["used_memory"] - before) / (count - MADE)
        told(f"    {count:,} jobs in {time.perf_counter() - started:.0f} s, {per_job:.0f} bytes each")
    return float(per_job)


def _list_p50(stack: Stack) -> float:
    """Milliseconds of the newest page."""
    taken = []
    with httpx2.Client(base_url=stack.client.url, timeout=30, trust_env=False) as client:
        for _ in range(LISTS):
            started = time.perf_counter()
            client.get("/v1/jobs").raise_for_status()
            taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken)


def _watched(server: Server, stack: Stack, url: str) -> Result:
    """Share of a core that the API takes while nothing happens but that watchers are there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2 * WATCHERS)), hard))
    jobs = [stack.client.submit(small_net(10_000 + number))["id"] for number in range(100)]
    with ExitStack() as open_lines:
        lines = [open_lines.enter_context(_watch(server.port, jobs[number % len(jobs)])) for number in range(WATCHERS)]
        _await_first_events(lines)
        with redis.Redis.from_url(url) as client:
            until(lambda: client.zcard("ty:unsaved") == 0, seconds=60)  # sweepers have written the records
        shares = []
        for _ in range(WINDOWS):
            before, started = processor_seconds(server.pid), time.perf_counter()
            Event().wait(WINDOW_SECONDS)
            shares.append(100 * (processor_seconds(server.pid) - before) / (time.perf_counter() - started))
            told(f"    {WATCHERS} watchers: {shares[-1]:.1f} % of a core")
    return measured(
        shares,
        arm="10",
        what=f"processor time of the API with {WATCHERS:,} idle SSE watchers",
        unit="%",
        better="lower",
        target=5,
        floor=15,
    )


def _watch(port: int, job_id: str) -> socket.socket:
    line = socket.create_connection(("127.0.0.1", port), timeout=30)
    line.sendall(f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: text/event-stream\r\n\r\n".encode())
    return line


def _await_first_events(lines: Sequence[socket.socket]) -> None:
    """Every watcher has been told that its job waits."""
    with selectors.DefaultSelector() as ready:
        for line in lines:
            ready.register(line, selectors.EVENT_READ, bytearray())
        while ready.get_map():
            for key, _ in ready.select(timeout=60):
                assert isinstance(key.fileobj, socket.socket)
                key.data.extend(key.fileobj.recv(65_536))
                if b"event: state" in key.data:
                    ready.unregister(key.fileobj)
