"""What /metrics tells is what alerts and board ask for, with a bound on how many names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from service.api.monitoring import registry_of
from service.jobs.errors import StoreUnavailable
from service.jobs.ports import Line, PreflightLoad, Standing, WorkerBeat
from tests.pages import ROOT

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LOAD = PreflightLoad(children=2, busy=1, asked=7, waited_seconds=0.5, refused=3)
PAGES = ROOT / "docs"


class Stands:
    """A Monitor that says what it was given."""

    def __init__(self, standing: Standing | None) -> None:
        self._standing = standing

    def standing(self) -> Standing:
        if self._standing is None:
            raise StoreUnavailable("away")
        return self._standing


def told(standing: Standing | None, *, after: Callable[..., None] = lambda _: None) -> dict[tuple[str, ...], float]:
    """Every sample by name and the values of its labels, in the order of the labels' names."""
    registry, requests = registry_of(Stands(standing), lambda: LOAD)
    after(requests)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """As a worker tells it."""

    index: int
    name: str
    memory_bytes: int | None
    memory_used_bytes: int | None
    utilisation_percent: int | None


@dataclass(frozen=True, kw_only=True)
class OnGpus(WorkerBeat):
    """A beat with GPUs."""

    gpus: Sequence[Gpu]


GPUS = (
    Gpu(index=0, name="H100", memory_bytes=80, memory_used_bytes=20, utilisation_percent=45),
    Gpu(index=1, name="H100", memory_bytes=80, memory_used_bytes=None, utilisation_percent=None),
)
WHOLE = Standing(
    at=NOW,
    lines=[Line(device="gpu", project="vision", waiting=3, oldest_at=NOW - timedelta(seconds=90), running=2)],
    workers=[OnGpus(name="w", device="gpu", slots=4, busy=2, threads=1, held_uploads=1, held_seconds=30.0, gpus=GPUS)],
    unsaved=5,
    unsaved_since=NOW - timedelta(seconds=7),
    to_look_at=1,
    used_bytes=100,
    most_bytes=1000,
    counts={
        ("submitted", "gpu"): 9,
        ("ended", "gpu", "failed", "nan_loss"): 2,
        ("attempt", "gpu", "lost", "worker_lost"): 4,
        ("attempt", "gpu", "give_back", "drained"): 1,
        ("wait", "gpu", "0.5"): 2,
        ("wait", "gpu", "ms"): 700,
        ("first_step", "gpu", "+Inf"): 1,
        ("first_step", "gpu", "10"): 1,
        ("first_step", "gpu", "ms"): 99_000_000,
    },
)


def test_everything_that_stands_is_told():
    """Ages in seconds, counts as counters, waits as cumulative buckets."""
    samples = told(WHOLE)

    for name, value in {
        ("trainyard_queue_jobs", "gpu", "vision"): 3,
        ("trainyard_queue_jobs", "cpu", "default"): 0,
        ("trainyard_queue_oldest_seconds", "gpu", "vision"): 90,
        ("trainyard_running_jobs", "gpu", "vision"): 2,
        ("trainyard_slots", "gpu"): 4,
        ("trainyard_busy_slots", "gpu"): 2,
        ("trainyard_workers", "gpu"): 1,
        ("trainyard_workers", "cpu"): 0,
        ("trainyard_worker_held_seconds", "w"): 30,
        ("trainyard_unsaved_oldest_seconds",): 7,
        ("trainyard_store_memory_limit_bytes",): 1000,
        ("trainyard_jobs_submitted_total", "gpu"): 9,
        ("trainyard_jobs_ended_total", "gpu", "nan_loss", "failed"): 2,
        ("trainyard_attempts_ended_total", "gpu", "give_back", "drained"): 1,
        ("trainyard_lease_losses_total", "gpu"): 4,
        ("trainyard_lease_losses_total", "cpu"): 0,
        ("trainyard_job_wait_seconds_sum", "gpu"): 0.7,
        ("trainyard_job_first_step_seconds_bucket", "gpu", "5.0"): 0,
        ("trainyard_job_first_step_seconds_bucket", "gpu", "10.0"): 1,
        ("trainyard_job_first_step_seconds_bucket", "gpu", "+Inf"): 2,
        ("trainyard_job_first_step_seconds_count", "gpu"): 2,
        ("trainyard_preflight_refused_total",): 3,
        ("trainyard_store_up",): 1,
        ("trainyard_gpu_memory_bytes", "1", "H100", "w"): 80,
        ("trainyard_gpu_memory_used_bytes", "0", "H100", "w"): 20,
        ("trainyard_gpu_utilisation_ratio", "0", "H100", "w"): 0.45,
    }.items():
        assert samples[name] == value, name
    assert ("trainyard_gpu_utilisation_ratio", "1", "H100", "w") not in samples


def test_a_store_that_is_away_is_told_and_what_the_process_counts_besides():
    """An answer all the same: else a monitor would not know which of the two is away."""
    samples = told(None)

    assert samples["trainyard_store_up",] == 0
    assert samples["trainyard_preflight_children",] == 2
    assert not any(name.startswith("trainyard_queue") for name, *_ in samples)


def test_a_thousand_projects_are_told_as_fifty_and_the_others():
    """Nobody is left out of the sums."""
    lines = [Line(device="cpu", project=f"p{at}", waiting=at + 1, oldest_at=NOW - timedelta(seconds=1000 - at)) for at in range(1000)]
    samples = told(Standing(at=NOW, lines=lines))
    of_cpu = {name[2]: value for name, value in samples.items() if name[:2] == ("trainyard_queue_jobs", "cpu")}

    assert len(of_cpu) == 51
    assert sum(of_cpu.values()) == 1000 * 1001 / 2
    assert samples["trainyard_queue_oldest_seconds", "cpu", "(others)"] == 1000


def test_alerts_and_board_ask_for_what_is_told():
    """Every metric that they and the page name exists, and every one that is told stands on the page."""
    known = {name for name, *_ in told(WHOLE, after=lambda requests: requests.note("GET", "/", 200, 0.1, waits=False))}
    alerts = YAML(typ="safe").load((PAGES / "monitor" / "alerts.yml").read_text())
    board = json.loads((PAGES / "monitor" / "dashboard.json").read_text())
    rules = [rule for group in alerts["groups"] for rule in group["rules"]]
    asked = [rule["expr"] for rule in rules] + [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    page = (PAGES / "howto" / "monitor.md").read_text()
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in known if name.startswith("trainyard_")}

    for text in asked:
        assert set(re.findall(r"\btrainyard_\w+", text)) <= known, text
        assert text.count("(") == text.count(")"), text
    assert len(rules) > 10
    assert all(rule["annotations"]["action"] and rule["labels"]["severity"] for rule in rules)
    assert families - set(re.findall(r"\btrainyard_\w+", page)) == set()
    assert set(re.findall(r"`(trainyard_\w+)`", page)) - known - families == set()
