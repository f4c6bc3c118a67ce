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
from contextlib import suppress
from functools import partial
from importlib.metadata import version

from celery import signals

from service import killpoints
from service.adapters.celery_doorbell import CeleryDoorbell, OwnBell, celery_app
from service.adapters.preflight_child import PreflightChildren, contained_child
from service.adapters.redis_jobs import connect
from service.adapters.s3_artifacts import S3Artifacts
from service.adapters.stores import Stores
from service.background import Repeating
from service.jobs.errors import StoreUnavailable
from service.jobs.ports import WorkerBeat
from service.killpoints import UnknownKillPoint
from service.settings import SettingsFault
from service.startup import NotReady, await_parts
from worker.brought import BroughtShelf
from worker.datasets import DatasetShelf
from worker.folders import AttemptFolders
from worker.hearing import Deaf, Hearing
from worker.keeper import ZygoteKeeper
from worker.machine import described
from worker.pool import WakingPool
from worker.preparing import CacheFolder, Sources
from worker.settings import WorkerSettings
from worker.slots import Slots
from worker.supervisor import FLAG_SECONDS, Surroundings, supervise
from worker.tasks import register
from worker.zygote import ZygoteGone

BEAT_SECONDS = 5
DEAF = 3
"""The exit code of a worker that no ring reaches any more."""
DEAF_GRACE_SECONDS = 30.0
log = logging.getLogger("trainyard")


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
        stores = connect(
            settings.redis_url,
            lease_seconds=settings.lease_seconds,
            sweep_seconds=settings.sweep_seconds,
            project_slots=settings.project_slots,
        )
        artifacts = S3Artifacts(settings)
        await_parts({"REDIS_URL": stores.ping, "S3_ENDPOINT_URL": artifacts.ensure_bucket})
        if arguments.slots * settings.threads > (os.cpu_count() or 1):
            os.environ.setdefault("GOMP_SPINCOUNT", "0")  # ADR 10: idle threads give their core to another job's
        spares = arguments.slots if arguments.device == "gpu" else 0
        keeper = ZygoteKeeper(log_path=settings.zygote_log, spares=spares)
    except (SettingsFault, NotReady, ZygoteGone, UnknownKillPoint) as error:
        print(f"trainyard worker: {error}", file=sys.stderr)  # noqa: T201
        return 1
    try:
        with AttemptFolders(settings.work_dir, arguments.name) as folders:
            return _work(arguments, settings, stores, artifacts, keeper, folders)
    finally:
        keeper.close()
        stores.close()


def _work(
    arguments: argparse.Namespace,
    settings: WorkerSettings,
    stores: Stores,
    artifacts: S3Artifacts,
    keeper: ZygoteKeeper,
    folders: AttemptFolders,
) -> int:
    draining, deaf = threading.Event(), threading.Event()
    app = celery_app(settings.broker)
    bell = OwnBell(app, arguments.name)
    preflight = PreflightChildren(contained=partial(contained_child, trusts_code=settings.uncontained_code))
    around = Surroundings(
        sources=Sources(
            jobs=stores.jobs,
            artifacts=artifacts,
            shelf=DatasetShelf(operators=settings.datasets_dir, fetched=settings.work_dir / "datasets", artifacts=artifacts),
            brought=BroughtShelf(settings.work_dir / "uploads", settings.cache_bytes, artifacts, stores.datasets),
            preflight=preflight,
            threads=settings.threads,
            cache=CacheFolder(folder=settings.work_dir / "cache", limit_bytes=settings.cache_bytes),
        ),
        attempts=stores.attempts,
        facts=stores.facts,
        disposal=stores.disposal,
        folders=folders,
        trusts_code=settings.uncontained_code,
        spawner=keeper,
        draining=draining,
        stall_seconds=settings.stall_seconds,
        renew_seconds=min(FLAG_SECONDS, settings.lease_seconds / 3),
        storage_patience_seconds=settings.storage_patience_seconds,
    )
    device_name, memory_bytes = described(arguments.device)
    beat = WorkerBeat(
        name=arguments.name,
        device=arguments.device,
        slots=arguments.slots,
        busy=0,
        threads=settings.threads,
        versions={name: version(name) for name in ("trainyard", "torch", "torchvision")},
        device_name=device_name,
        memory_bytes=memory_bytes,
    )
    house = stores.sweeper(artifacts=artifacts, doorbell=CeleryDoorbell(app))
    slots = Slots(
        attempts=stores.attempts,
        workers=stores.workers,
        beat=beat,
        supervise=lambda claim: supervise(claim, around),
        ring=house.ring,
        draining=draining,
    )
    hearing = Hearing(ring=bell.ring, idle=lambda: slots.idle, limit_seconds=settings.deaf_seconds)
    register(app, work=slots.work, heard=hearing.heard)

    def tidy() -> None:
        keeper.refill()
        slots.beat()
        if settings.beat_file is not None:
            settings.beat_file.touch()
        house.sweep()

    def listen() -> None:
        try:
            hearing.check()
        except Deaf as error:
            log.critical("%s Ending, to be started again.", error)
            deaf.set()
            draining.set()
            os.kill(os.getpid(), signal.SIGTERM)
            # a consumer that hears nothing may not hear this either
            last_resort = threading.Timer(DEAF_GRACE_SECONDS, lambda: os._exit(DEAF))
            last_resort.daemon = True
            last_resort.start()

    slots.beat()
    repeating = [
        Repeating("sweeper", min(BEAT_SECONDS, settings.sweep_seconds), tidy).start(),
        Repeating("hearing", min(BEAT_SECONDS, settings.deaf_seconds / 4), listen).start(),
    ]
    signals.worker_shutting_down.connect(lambda **_: draining.set(), weak=False)
    log.info("worker %s: %d slot(s) on %s", arguments.name, arguments.slots, arguments.device)
    worker = app.Worker(
        pool=WakingPool,
        concurrency=arguments.slots,
        queues=[arguments.device, bell.queue],
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        loglevel="WARNING",
        quiet=True,
    )
    signal.signal(signal.SIGTERM, lambda *_: draining.set())  # until Celery's own handler stands
    worker.start()
    draining.set()
    for each in repeating:
        each.stop()
    with suppress(StoreUnavailable):  # forgotten anyway, after some silence
        stores.workers.leave(arguments.name)
        bell.remove()
    preflight.close()
    return DEAF if deaf.is_set() else 0


if __name__ == "__main__":
    sys.exit(main())
