"""`/metrics`, as Prometheus reads it: how things stand in the store, the same from every API process, and what this process counts itself."""

from __future__ import annotations

import hmac
import platform
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    GCCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from service.access.principal import EVERYWHERE, Principal, Role
from service.api.auth import Door
from service.api.observing import Requests
from service.api.problems import Refused, responses
from service.jobs.errors import StoreUnavailable
from service.jobs.ports import WITHIN_SECONDS, Line, Monitor, PreflightLoad, Standing, WorkerBeat

PROJECTS_SHOWN = 50
"""Of each class; those with fewer jobs are told as one. Monitors keep a series for each name that they ever saw."""
WORKERS_SHOWN = 200
OTHERS = "(others)"

router = APIRouter()


class MonitorsDoor(Door):
    """For the token of monitors, which stands for nobody, and for admins of the installation: what is told names every project."""

    counts = False  # a monitor that is refused is blind when it is needed

    async def __call__(self, request: Request) -> Principal:
        """Whoever asks. Raises Refused (401, 403, 429)."""
        token: str | None = request.app.state.metrics_token
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if token is not None and scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode()):
            return Principal(key_id=None, project=EVERYWHERE, role=Role.READ, everywhere=True)
        found = await super().__call__(request)
        if not found.everywhere:
            raise Refused(
                403, "forbidden", "This tells of every project: it takes an admin key of the installation, or the token of monitors."
            )
        return found


@router.get(
    "/metrics",
    dependencies=[Depends(MonitorsDoor(Role.ADMIN))],
    responses=responses(401, 403, 429),
    response_class=Response,
    tags=["health"],
)
def get_metrics(request: Request) -> Response:
    """Queues, workers, ends by reason, requests: for Prometheus."""
    return Response(generate_latest(request.app.state.registry), media_type=CONTENT_TYPE_LATEST)


def registry_of(monitor: Monitor, preflight: Callable[[], PreflightLoad]) -> tuple[CollectorRegistry, Requests]:
    """All that a process tells, and where its requests are counted."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each series; its types are missing
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    registry.register(Standings(monitor))
    registry.register(OfThisProcess(preflight))
    return registry, Requests(registry)


class OfThisProcess(Collector):
    """What it runs, and the children that check specs."""

    def __init__(self, preflight: Callable[[], PreflightLoad]) -> None:
        self._preflight = preflight

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that registering asks nobody."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Now."""
        labels = {"version": version("trainyard"), "python": platform.python_version()}
        yield _gauge("build_info", "What runs.", list(labels), [(tuple(labels.values()), 1)])
        load = self._preflight()
        yield _gauge("preflight_children", "Specs that can be checked at a time.", (), [((), load.children)])
        yield _gauge("preflight_busy", "Children that are checking a spec.", (), [((), load.busy)])
        yield _counter("preflight_checks", "Times that a child was asked for.", (), [((), load.asked)])
        yield _counter("preflight_wait_seconds", "Seconds that askers waited for a child.", (), [((), load.waited_seconds)])
        yield _counter("preflight_refused", "Askers that found every child busy for too long.", (), [((), load.refused)])


class Standings(Collector):
    """How things stand in the store. Where it does not answer, only that is told."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that registering asks nobody."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Now."""
        try:
            standing = self._monitor.standing()
        except StoreUnavailable:
            yield _gauge("store_up", "Whether Redis answers.", (), [((), 0)])
            return
        yield _gauge("store_up", "Whether Redis answers.", (), [((), 1)])
        yield from _queues(standing)
        yield from _workers(standing.workers)
        yield from _storage(standing)
        yield from _counts(standing)


def _queues(standing: Standing) -> Iterator[Metric]:
    lines = _shown(standing.lines)
    place = ("device", "project")
    aged = [((line.device, line.project), (standing.at - line.oldest_at).total_seconds() if line.oldest_at else 0.0) for line in lines]
    yield _gauge("queue_jobs", "Jobs that wait.", place, [((line.device, line.project), line.waiting) for line in lines])
    yield _gauge("queue_oldest_seconds", "How long the job has waited that was submitted first.", place, aged)
    yield _gauge("running_jobs", "Jobs that run.", place, [((line.device, line.project), line.running) for line in lines])


def _shown(lines: Iterable[Line]) -> list[Line]:
    """Every class, and of each the projects with most jobs; the others as one."""
    by_device: defaultdict[str, list[Line]] = defaultdict(list)
    for line in (Line(device="cpu", project="default"), Line(device="gpu", project="default"), *lines):
        known = next((at for at, each in enumerate(by_device[line.device]) if each.project == line.project == "default"), None)
        if known is None:
            by_device[line.device].append(line)
        else:
            by_device[line.device][known] = line
    shown = list[Line]()
    for of_class in by_device.values():
        largest = sorted(of_class, key=lambda line: (-line.waiting - line.running, line.project))
        shown += largest[:PROJECTS_SHOWN]
        if others := largest[PROJECTS_SHOWN:]:
            shown.append(
                Line(
                    device=others[0].device,
                    project=OTHERS,
                    waiting=sum(line.waiting for line in others),
                    running=sum(line.running for line in others),
                    oldest_at=min((line.oldest_at for line in others if line.oldest_at), default=None),
                )
            )
    return shown


def _workers(workers: Iterable[WorkerBeat]) -> Iterator[Metric]:
    beats = sorted(workers, key=lambda beat: beat.name)
    sums = {device: [beat for beat in beats if beat.device == device] for device in ("cpu", "gpu")}
    yield _gauge("workers", "Live workers.", ("device",), [((device,), len(own)) for device, own in sums.items()])
    yield _gauge("slots", "Jobs that can run at a time.", ("device",), [((d,), sum(beat.slots for beat in own)) for d, own in sums.items()])
    yield _gauge("busy_slots", "Slots that are taken.", ("device",), [((d,), sum(beat.busy for beat in own)) for d, own in sums.items()])
    shown = beats[:WORKERS_SHOWN]
    held = "Checkpoints and results of a worker that wait for storage."
    yield _gauge("worker_held_uploads", held, ("worker",), [((beat.name,), beat.held_uploads) for beat in shown])
    oldest = "How long the one has waited that a worker holds back longest."
    yield _gauge("worker_held_seconds", oldest, ("worker",), [((beat.name,), beat.held_seconds) for beat in shown])
    yield from _gpus(shown)


def _gpus(beats: Iterable[WorkerBeat]) -> Iterator[Metric]:
    """What drivers tell; nothing of what they cannot."""
    place = ("worker", "gpu", "name")
    # beats of versions that know no GPUs have none
    gpus = [((beat.name, str(gpu.index), str(gpu.name)), gpu) for beat in beats for gpu in getattr(beat, "gpus", ())]
    for name, told, of, scale in (
        ("gpu_memory_bytes", "A GPU's memory.", "memory_bytes", 1.0),
        ("gpu_memory_used_bytes", "What is taken of it.", "memory_used_bytes", 1.0),
        ("gpu_utilisation_ratio", "The share of the last moments in which something ran on it.", "utilisation_percent", 0.01),
    ):
        known = [(words, getattr(gpu, of)) for words, gpu in gpus]
        yield _gauge(name, told, place, [(words, value * scale) for words, value in known if value is not None])


def _storage(standing: Standing) -> Iterator[Metric]:
    lag = (standing.at - standing.unsaved_since).total_seconds() if standing.unsaved_since else 0.0
    yield _gauge("unsaved_records", "Jobs whose record in storage is old.", (), [((), standing.unsaved)])
    yield _gauge("unsaved_oldest_seconds", "How long the record has waited for storage that waits longest.", (), [((), lag)])
    yield _gauge("uploads_to_look_at", "Uploaded data sets that nobody has looked at yet.", (), [((), standing.to_look_at)])
    if standing.used_bytes is not None:
        yield _gauge("store_memory_bytes", "Memory that Redis uses.", (), [((), standing.used_bytes)])
    if standing.most_bytes is not None:
        yield _gauge("store_memory_limit_bytes", "Memory that Redis may use; 0: no limit.", (), [((), standing.most_bytes)])


def _counts(standing: Standing) -> Iterator[Metric]:
    of = defaultdict[str, list[tuple[tuple[str, ...], int]]](list)
    for (kind, *words), count in sorted(standing.counts.items()):
        of[kind].append((tuple(words), count))
    yield _counter("jobs_submitted", "Jobs that were taken.", ("device",), of["submitted"])
    yield _counter("jobs_ended", "Jobs that came to their end.", ("device", "state", "reason"), of["ended"])
    yield _counter("attempts_ended", "Attempts by how they ended.", ("device", "outcome", "reason"), of["attempt"])
    lost = {device: sum(count for words, count in of["attempt"] if words[:2] == (device, "lost")) for device in ("cpu", "gpu")}
    yield _counter(
        "lease_losses", "Attempts whose worker fell silent.", ("device",), [((device,), count) for device, count in lost.items()]
    )
    yield _histogram("job_wait_seconds", "From submit to the first claim.", of["wait"])
    yield _histogram("job_first_step_seconds", "From submit to the first optimizer step.", of["first_step"])


def _histogram(name: str, told: str, counts: Iterable[tuple[tuple[str, ...], int]]) -> Metric:
    family = HistogramMetricFamily(f"trainyard_{name}", told, labels=["device"])
    known = dict(counts)
    for device in sorted({words[0] for words in known}):
        so_far, buckets = 0, list[tuple[str, float]]()
        for bound in (*WITHIN_SECONDS, "+Inf"):
            so_far += known.get((device, bound), 0)
            buckets.append((bound if bound == "+Inf" else str(float(bound)), so_far))
        family.add_metric([device], buckets, sum_value=known.get((device, "ms"), 0) / 1000)
    return family


def _gauge(name: str, told: str, labels: Iterable[str], values: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    family = GaugeMetricFamily(f"trainyard_{name}", told, labels=list(labels))
    for words, value in values:
        family.add_metric(list(words), value)
    return family


def _counter(name: str, told: str, labels: Iterable[str], values: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    family = CounterMetricFamily(f"trainyard_{name}", told, labels=list(labels))
    for words, value in values:
        family.add_metric(list(words), value)
    return family
