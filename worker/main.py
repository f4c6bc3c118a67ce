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
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from importlib.metadata import version

from celery import signals

from service import killpoints, logs
from service.adapters.celery_doorbell import CeleryDoorbell, OwnBell, celery_app
from service.adapters.preflight_child import PreflightChildren, contained_child
from service.adapters.redis_jobs import connect
from service.adapters.s3_artifacts import S3Artifacts
from service.adapters.stores import Stores
from service.background import Repeating
from service.jobs.errors import NewerFormat, StoreUnavailable
from service.jobs.ports import WorkerBeat
from service.killpoints import UnknownKillPoint
from service.settings import SettingsFault
from service.startup import NotReady, await_parts
from worker.brought import BroughtShelf
from worker.datasets import DatasetShelf
from worker.folders import AttemptFolders
from worker.giving_up import give_up_alone
from worker.gpus import Gauges, Gpu, GpuPool, visible
from worker.hearing import Deaf, Hearing
from worker.keeper import ZygoteKeeper
from worker.machine import described
from worker.pool import WakingPool
from worker.preparing import CacheFolder, Sources
from worker.settings import WorkerSettings
from worker.slots import Slots
from worker.supervisor import FLAG_SECONDS, Surroundings, supervise
from worker.tasks import register
from worker.training.rehearsal import is_rehearsed
from worker.zygote import ZygoteGone

BEAT_SECONDS = 5
GAUGED_SECONDS = 15
DEAF = 3
"""The exit code of a worker that no ring reaches any more."""
DEAF_GRACE_SECONDS = 30.0
log = logging.getLogger("trainyard")


def main() -> int:
    """Work until told to stop. Exit code 1 where a part is missing at the start, with one line that says which."""
    parser = argparse.ArgumentParser(prog="trainyard worker", description="Trains queued jobs on this machine.")
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--slots", type=int, help="how many jobs run at once (default: one for each GPU; on the CPU 1)")
    parser.add_argument("--name", default=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}")
    arguments = parser.parse_args()
    try:
        killpoints.arm(os.environ)
        settings = WorkerSettings.read()
        logs.configure(settings.log_format, secrets=settings.secrets, role="worker", worker=arguments.name)
        signals.setup_logging.connect(_as_configured, weak=False)
        stores = connect(
            settings.redis_url,
            lease_seconds=settings.lease_seconds,
            sweep_seconds=settings.sweep_seconds,
            quota=settings.quota,
        )
        artifacts = S3Artifacts(settings)
        broker = CeleryDoorbell(celery_app(settings.broker))
        await_parts({"REDIS_URL": stores.admit, "TRAINYARD_BROKER_URL": broker.ping, "S3_ENDPOINT_URL": artifacts.ensure_bucket})
        gpus = _gpus(arguments)
        arguments.slots = arguments.slots or max(1, len(gpus))
        if arguments.slots * settings.threads > (os.cpu_count() or 1):
            os.environ.setdefault("GOMP_SPINCOUNT", "0")  # ADR 10: idle threads give their core to another job's
        keeper = ZygoteKeeper(log_path=settings.zygote_log, gpus=[gpu.id for gpu in gpus], device="cpu" if is_rehearsed() else "cuda")
    except (SettingsFault, NotReady, NewerFormat, ZygoteGone, UnknownKillPoint) as error:
        print(f"trainyard worker: {error}", file=sys.stderr)  # noqa: T201
        return 1
    try:
        with AttemptFolders(settings.work_dir, arguments.name) as folders:
            return _work(arguments, settings, stores, artifacts, keeper, folders, gpus)
    finally:
        keeper.close()
        stores.close()


def _as_configured(**_: object) -> None:
    """Celery configures no logging where somebody answers this signal."""


def _gpus(arguments: argparse.Namespace) -> list[Gpu]:
    """The GPUs to work with; none where nobody knows them. Raises NotReady where this worker may use none."""
    if arguments.device == "cpu":
        return []
    found = visible(os.environ)
    if found is None:
        log.warning("nvidia-smi does not answer: jobs get whatever GPU there is, each one, and nothing is known of how busy it is")
        return []
    if not found:
        raise NotReady("nvidia-smi shows no GPU that CUDA_VISIBLE_DEVICES and NVIDIA_VISIBLE_DEVICES leave to this worker.")
    log.info("GPUs: %s", ", ".join(f"{gpu.name} ({gpu.id})" for gpu in found))
    return found


def _work(
    arguments: argparse.Namespace,
    settings: WorkerSettings,
    stores: Stores,
    artifacts: S3Artifacts,
    keeper: ZygoteKeeper,
    folders: AttemptFolders,
    gpus: Sequence[Gpu],
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
    device_name, memory_bytes = described(arguments.device, gpus)
    pool, gauges = GpuPool(gpus, slots=arguments.slots) if gpus else None, Gauges(gpus)
    beat = WorkerBeat(
        name=arguments.name,
        device=arguments.device,
        slots=arguments.slots,
        busy=0,
        threads=settings.threads,
        versions={name: version(name) for name in ("trainyard", "torch", "torchvision")},
        device_name=device_name,
        memory_bytes=memory_bytes,
        job_gpus=pool.most if pool else 1,
    )
    house = stores.sweeper(artifacts=artifacts, doorbell=CeleryDoorbell(app))
    slots = Slots(
        attempts=stores.attempts,
        workers=stores.workers,
        beat=beat,
        supervise=lambda claim, gpus: supervise(claim, around, gpus),
        ring=house.ring,
        held=around.held.told,
        draining=draining,
        gpus=pool,
        loads=gauges.latest,
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

    signal.signal(signal.SIGTERM, lambda *_: draining.set())  # from the first beat on, until Celery's own handler stands
    slots.beat()
    repeating = [
        *([Repeating("gauges", GAUGED_SECONDS, gauges.look).start()] if gpus else []),
        Repeating("sweeper", min(BEAT_SECONDS, settings.sweep_seconds), tidy).start(),
        Repeating("hearing", min(BEAT_SECONDS, settings.deaf_seconds / 4), listen).start(),
    ]
    alone = partial(give_up_alone, draining, stores.workers.workers, is_busy=lambda: slots.is_busy, seconds=settings.lease_seconds)
    threading.Thread(target=alone, name="giving-up", daemon=True).start()
    signals.worker_shutting_down.connect(lambda **_: draining.set(), weak=False)
    log.info("worker %s: %d slot(s) on %s", arguments.name, arguments.slots, arguments.device)
    worker = app.Worker(
        pool=WakingPool,
        concurrency=arguments.slots,
        queues=[arguments.device, bell.queue],
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    if not draining.is_set():
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
