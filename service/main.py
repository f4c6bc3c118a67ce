"""The API process: `python -m service.main`. The one place where the API's parts meet. It never imports torch."""

from __future__ import annotations

import asyncio
import ctypes
import math
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import uvicorn
from fastapi import FastAPI

from service import killpoints, logs
from service.access.rates import Policy
from service.adapters.celery_doorbell import CeleryDoorbell, LoopBell, celery_app
from service.adapters.inspecting_child import InspectingChildren
from service.adapters.local_data import LocalData
from service.adapters.predicting_child import PredictingChildren
from service.adapters.preflight_child import PreflightChildren, contained_child
from service.adapters.redis_jobs import connect
from service.adapters.s3_artifacts import S3Artifacts
from service.adapters.s3_links import S3Links
from service.adapters.spool import Spool
from service.adapters.stores import Stores
from service.adapters.webhooks import HttpPost, Lookout, Names
from service.api.app import create_app
from service.api.auditing import Recorder
from service.api.connections import RESERVED_FILES, Connection
from service.api.guarding import HEAD_BYTES
from service.api.keyring import Keyring
from service.api.places import Places
from service.api.rating import Rating
from service.background import Repeating
from service.dashboard.mounting import mount
from service.jobs.errors import NewerFormat, Unavailable
from service.jobs.job import Device
from service.killpoints import UnknownKillPoint
from service.ringing import Ringer
from service.safekeeping import restore_access
from service.settings import ApiSettings, SettingsFault
from service.startup import NotReady, await_parts
from service.use_cases import Services, look_at_one
from service.use_cases.access import Access, first_key
from service.webhooks.delivering import Deliverer

STORE_SECONDS = 1.0
"""How long a request waits for Redis before it is answered with 503."""
M_ARENA_MAX = -8
"""As malloc.h has it."""
USUAL_RATE = 1000.0
"""Requests a second of a key: about what one API process answers. Scripts and pages come nowhere near it; what runs wild is held (ADR 25)."""
DELIVER_SECONDS = 1.0
"""How often is looked for what is to be told; who makes room for more looks at once."""
LAST_WEBHOOKS_SECONDS = 3.0
"""How long the end waits for webhooks that are being sent."""

FIRST_KEY = """trainyard api: nobody comes in without a key, and there was none. This is the first, an admin's of the installation:

    {}

Keep it: it is not told again. Set it as TRAINYARD_API_KEY where the command runs, and make others with `trainyard keys create`."""
AUDIT_SECONDS = 0.25
"""How often notes of what was done are written: a process that is killed loses no more of them."""


@dataclass(frozen=True)
class Api:
    """The application and what runs beside it."""

    app: FastAPI
    stores: Stores
    doorbell: CeleryDoorbell
    artifacts: S3Artifacts
    access: Access
    recorder: Recorder
    preflight: PreflightChildren
    predictor: PredictingChildren
    local_data: LocalData
    spool: Spool
    deliverer: Deliverer | None
    repeating: tuple[Repeating, ...]

    def start(self) -> None:
        """Start ringer, sweeper and the checking child."""
        for each in self.repeating:
            each.start()

    def stop(self) -> None:
        """End them."""
        for each in self.repeating:
            each.stop()
        if self.deliverer is not None:
            self.deliverer.stop(seconds=LAST_WEBHOOKS_SECONDS)
        with suppress(Unavailable):
            self.recorder.flush()
        self.preflight.close()
        self.predictor.close()
        self.local_data.close()
        self.stores.close()
        self.spool.close()


def in_event_loop() -> bool:
    """Whether this is the thread of a running event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def build(settings: ApiSettings) -> Api:
    """The API's parts, joined; nothing connects before its first use."""
    stores = connect(
        settings.redis_url,
        lease_seconds=settings.lease_seconds,
        sweep_seconds=settings.sweep_seconds,
        quota=settings.quota,
        socket_seconds=STORE_SECONDS,
    )
    artifacts = S3Artifacts(settings)
    preflight = PreflightChildren(
        children=settings.preflight_children, contained=partial(contained_child, trusts_code=settings.uncontained_code)
    )
    celery = celery_app(settings.broker)
    doorbell = CeleryDoorbell(celery)
    checks = {"store": stores.ping, "storage": artifacts.ping}
    if settings.broker != settings.redis_url:
        checks["broker"] = doorbell.ping

    sweeper = stores.sweeper(artifacts=artifacts, doorbell=doorbell)

    def torch_beside() -> None:
        if not preflight.available():
            raise Unavailable("torch is not installed beside the API; jobs are accepted with a warning and checked by the worker")

    # the ringer runs when a submit wakes it; its own turn is only a safety net
    ringer = Ringer(doorbell=doorbell, ring_all=sweeper.ring)
    ringing = Repeating("ringer", 30, ringer.ring)

    bell = LoopBell(app=celery, seconds=STORE_SECONDS)

    def ring_later(device: Device | None = None) -> None:
        ringer.came(device)
        ringing.wake()

    def ring(device: Device | None = None) -> None:
        if device is None or not in_event_loop() or not bell.ring(device, lost=ring_later):
            ring_later(device)

    warmer = Repeating("preflight", 60, lambda: preflight.warm() if preflight.available() else None)

    def look() -> None:
        while look_at_one(services):
            pass

    looking = Repeating("inspector", settings.sweep_seconds, look)
    deliverer = _deliverer(settings, stores, freed=lambda: delivering.wake())  # noqa: PLW0108  # it is made below
    delivering = Repeating("deliverer", DELIVER_SECONDS, deliverer.deliver if deliverer is not None else lambda: None)
    spool = _spool(settings)
    inspector = InspectingChildren(alive_seconds=settings.lease_seconds / 3)
    local_data = LocalData(settings.datasets_dir, inspector=inspector, spool=spool)
    predictor = PredictingChildren(spool.folder / "models", trusts_code=settings.uncontained_code)
    services = Services(
        jobs=stores.jobs,
        intake=stores.intake,
        requests=stores.requests,
        facts=stores.facts,
        artifacts=artifacts,
        links=S3Links(settings, settings.s3_public_endpoint_url) if settings.s3_public_endpoint_url else None,
        preflight=preflight,
        workers=stores.workers,
        datasets=stores.datasets,
        local_data=local_data,
        inspector=inspector,
        predictor=predictor,
        spool=spool,
        outbox=stores.outbox,
        secrets=stores.secrets,
        reach=Lookout(settings.webhook_allow, names=Names()) if settings.webhooks else None,
        threads=settings.threads,
        accounts=stores.accounts,
        ring=ring,
        tell=delivering.wake,
        look=looking.wake,
        look_seconds=settings.lease_seconds,
        upload_bytes=settings.upload_bytes,
        now=lambda: datetime.now(tz=UTC),
    )

    async def closing() -> None:
        await stores.changes.aclose()
        await stores.intake.aclose()
        await stores.rates.aclose()
        await stores.stamps.aclose()
        await bell.aclose()

    recorder = Recorder(stores.audit)
    access = Access(
        store=stores.access,
        audit=stores.audit,
        artifacts=artifacts,
        now=lambda: datetime.now(tz=UTC),
        accounts=stores.accounts,
        quota=settings.quota,
        has_own=settings.api_key is not None,
    )
    app = create_app(
        services=services,
        changes=stores.changes,
        stamps=stores.stamps,
        checks=checks | {"preflight": torch_beside},
        keyring=Keyring(
            stores.access,
            api_key=settings.api_key.get_secret_value() if settings.api_key else None,
            locked=settings.require_api_key,
        ),
        access=access,
        recorder=recorder,
        monitor=stores.monitor,
        preflight_load=preflight.load,
        metrics_token=settings.metrics_token.get_secret_value() if settings.metrics_token else None,
        hosts=own_names(settings),
        places=Places(most=settings.streams, most_of_one=settings.streams_per_client),
        rating=rating_of(settings, stores),
        closing=closing,
    )
    mount(app)
    sweeping = Repeating("sweeper", settings.sweep_seconds, sweeper.sweep)
    noting = Repeating("audit", AUDIT_SECONDS, recorder.flush)
    repeating = (ringing, sweeping, warmer, looking, noting, *((delivering,) if deliverer is not None else ()))
    return Api(app, stores, doorbell, artifacts, access, recorder, preflight, predictor, local_data, spool, deliverer, repeating)


def own_names(settings: ApiSettings) -> tuple[str, ...] | None:
    """The names that the API answers to; None for any: where a key is required, who has a name point here gains nothing."""
    if settings.hosts is not None:
        return settings.hosts
    machine = socket.gethostname().lower()
    return None if settings.api_key is not None or settings.require_api_key else (machine, f"{machine}.local")


def rating_of(settings: ApiSettings, stores: Stores) -> Rating:
    """How often each may ask. Who comes without a key, where none is needed, shares one rate with all others, so there is none unless it is set."""
    per_second = USUAL_RATE if settings.rate_limit is None else settings.rate_limit
    if not per_second:
        return Rating(stores.rates)
    policy = Policy(name="key", per_second=per_second, burst=settings.rate_burst or math.ceil(2 * per_second))
    everybody = replace(policy, name="everybody") if settings.rate_limit is not None else None
    return Rating(stores.rates, keys=policy, nobody=everybody)


def _deliverer(settings: ApiSettings, stores: Stores, *, freed: Callable[[], None]) -> Deliverer | None:
    """Who sends webhooks, where they are sent. Raises SettingsFault where the authorities' certificates cannot be read."""
    if not settings.webhooks:
        return None
    try:
        post = HttpPost(settings.webhook_allow, names=Names(), seconds=settings.webhook_seconds, ca_file=settings.webhook_ca_file)
    except OSError as error:  # ssl's own errors are of that kind
        raise SettingsFault(f"TRAINYARD_WEBHOOK_CA_FILE: {settings.webhook_ca_file} cannot be read as certificates ({error})") from error
    return Deliverer(
        outbox=stores.outbox,
        secrets=stores.secrets,
        post=post,
        seconds=settings.webhook_seconds,
        pauses=settings.webhook_pauses,
        now=lambda: datetime.now(tz=UTC),
        freed=freed,
    )


def _spool(settings: ApiSettings) -> Spool:
    """Raises SettingsFault where the folder cannot be used."""
    try:
        return Spool(settings.spool_dir)
    except OSError as error:
        raise SettingsFault(f"TRAINYARD_SPOOL_DIR: {settings.spool_dir} cannot be written to ({error.strerror})") from error


def _see_to_keys(api: Api, settings: ApiSettings) -> None:
    """Those that storage kept come back where Redis was lost: else the service would be open, or locked. Raises Unavailable."""
    restore_access(store=api.stores.access, artifacts=api.artifacts)
    if not settings.require_api_key or settings.api_key is not None:
        return
    text = first_key(api.access)
    if text is not None:
        print(FIRST_KEY.format(text), file=sys.stderr, flush=True)  # noqa: T201


def _with_few_arenas() -> None:
    """Glibc gives nearly each thread a heap of its own, which keeps the largest answer that the thread ever made; two will do, one thread runs at a time.

    Measured with curves that grow to 0.9 MB while forty threads hand them out: 131 MiB became 169, and 142 so. mallopt(3), M_ARENA_MAX.
    """
    with suppress(AttributeError, TypeError):  # another C library; another system
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2)


def main() -> int:
    """Serve until told to stop. Exit code 1 where a part is missing at the start, with one line that says which."""
    _with_few_arenas()
    try:
        killpoints.arm(os.environ)
        settings = ApiSettings.read()
        logs.configure(settings.log_format, secrets=settings.secrets, role="api")
        api = build(settings)
        await_parts(
            {"REDIS_URL": api.stores.admit, "TRAINYARD_BROKER_URL": api.doorbell.ping, "S3_ENDPOINT_URL": api.artifacts.ensure_bucket}
        )
        _see_to_keys(api, settings)
    except (SettingsFault, NotReady, NewerFormat, UnknownKillPoint, Unavailable) as error:
        print(f"trainyard api: {error}", file=sys.stderr)  # noqa: T201
        return 1
    api.start()
    # each connection is an open file
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    Connection.most = None if most == resource.RLIM_INFINITY else max(RESERVED_FILES, most - RESERVED_FILES)
    # uvicorn ends well on a signal, and then raises it again: without these it would kill us before the parts are ended
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: None)
    try:
        # long polls and event streams must not hold up the end
        uvicorn.run(
            api.app,
            host=settings.host,
            port=settings.port,
            http=Connection,
            ws="none",
            h11_max_incomplete_event_size=HEAD_BYTES,
            server_header=False,
            access_log=False,
            log_config=None,
            timeout_graceful_shutdown=2,
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=settings.trusted_proxies,
        )
    finally:
        api.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
