"""The worker process: `python -m worker.main --device cpu|gpu --slots N`. The one place where its parts meet."""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import signal
import socket
import sys
import threading
from functools import partial
from importlib.metadata import version

from celery import signals

from service import killpoints
from service.adapters.celery_doorbell import CeleryDoorbell, celery_app
from service.adapters.preflight_child import PreflightChildren, contained_child
from service.adapters.redis_jobs import connect
from service.adapters.s3_artifacts import S3Artifacts
from service.adapters.stores import Stores
from service.background import Repeating
from service.jobs.ports import WorkerBeat
from service.killpoints import UnknownKillPoint
from service.settings import SettingsFault
from service.startup import NotReady, await_parts
from service.sweeping import sweep
from worker.datasets import DatasetShelf
from worker.settings import WorkerSettings
from worker.slots import Slots
from worker.supervisor import Surroundings, supervise
from worker.tasks import register
from worker.zygote import Trainer, Zygote, ZygoteGone

BEAT_SECONDS = 5
log = logging.getLogger("trainyard")


class ZygoteKeeper:
    """Always a living zygote: a dead one is replaced at the next fork, or by `check` before that."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._zygote = Zygote.start(log_path=settings.zygote_log)

    def spawn(self) -> Trainer:
        """A trainer of a living zygote. Raises ZygoteGone."""
        return self.check().spawn()

    def check(self) -> Zygote:
        """The zygote, started anew where it died."""
        with self._lock:
            if not self._zygote.alive:
                log.warning("the zygote died; starting another")
                self._zygote.close()
                self._zygote = Zygote.start(log_path=self._settings.zygote_log)
            return self._zygote

    def close(self) -> None:
        """End it."""
        with self._lock:
            self._zygote.close()


def main() -> int:
    """Work until told to stop. Exit code 1 where a part is missing at the start, with one line that says which."""
    parser = argparse.ArgumentParser(prog="trainyard worker", description="Trains queued jobs on this machine.")
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--slots", type=int, default=1, help="how many jobs run at once (default 1)")
    parser.add_argument("--name", default=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        killpoints.arm(os.environ)
        settings = WorkerSettings.read()
        stores = connect(settings.redis_url, lease_seconds=settings.lease_seconds, sweep_seconds=settings.sweep_seconds)
        artifacts = S3Artifacts(settings)
        await_parts({"REDIS_URL": stores.ping, "S3_ENDPOINT_URL": artifacts.ensure_bucket})
        keeper = ZygoteKeeper(settings)
    except (SettingsFault, NotReady, ZygoteGone, UnknownKillPoint) as error:
        print(f"trainyard worker: {error}", file=sys.stderr)  # noqa: T201
        return 1
    try:
        _work(arguments, settings, stores, artifacts, keeper)
    finally:
        keeper.close()
        stores.close()
    return 0


def _work(arguments: argparse.Namespace, settings: WorkerSettings, stores: Stores, artifacts: S3Artifacts, keeper: ZygoteKeeper) -> None:
    draining = threading.Event()
    app = celery_app(settings.redis_url)
    preflight = PreflightChildren(contained=partial(contained_child, trusts_code=settings.uncontained_code))
    around = Surroundings(
        jobs=stores.jobs,
        attempts=stores.attempts,
        facts=stores.facts,
        artifacts=artifacts,
        preflight=preflight,
        threads=settings.threads,
        trusts_code=settings.uncontained_code,
        shelf=DatasetShelf(operators=settings.datasets_dir, fetched=settings.work_dir / "datasets", artifacts=artifacts),
        spawner=keeper,
        draining=draining,
        work_dir=settings.work_dir,
        stall_seconds=settings.stall_seconds,
        storage_patience_seconds=settings.storage_patience_seconds,
    )
    beat = WorkerBeat(
        name=arguments.name,
        device=arguments.device,
        slots=arguments.slots,
        busy=0,
        threads=settings.threads,
        versions={name: version(name) for name in ("torch", "torchvision")},
    )
    slots = Slots(
        attempts=stores.attempts, workers=stores.workers, beat=beat, supervise=lambda claim: supervise(claim, around), draining=draining
    )
    register(app, slots.work)
    doorbell = CeleryDoorbell(app)

    def tidy() -> None:
        keeper.check()
        slots.beat()
        sweep(housekeeping=stores.housekeeping, facts=stores.facts, artifacts=artifacts, doorbell=doorbell, workers=stores.workers)

    slots.beat()
    sweeper = Repeating("sweeper", min(BEAT_SECONDS, settings.sweep_seconds), tidy).start()
    signals.worker_shutting_down.connect(lambda **_: draining.set(), weak=False)
    log.info("worker %s: %d slot(s) on %s", arguments.name, arguments.slots, arguments.device)
    worker = app.Worker(
        pool="threads",
        concurrency=arguments.slots,
        queues=[arguments.device],
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        loglevel="WARNING",
        quiet=True,
    )
    signal.signal(signal.SIGTERM, lambda *_: draining.set())  # until Celery's own handler stands
    worker.start()
    draining.set()
    sweeper.stop()
    stores.workers.leave(arguments.name)
    preflight.close()


if __name__ == "__main__":
    sys.exit(main())
