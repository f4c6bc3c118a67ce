"""A service in this process with two projects in it, and everybody who may come to its doors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
from fastapi import FastAPI

from service.access.keys import Key, Project, Secret, digest, new_secret
from service.access.principal import EVERYWHERE, Role
from service.adapters import memory
from service.adapters.memory import MemoryArtifacts
from service.adapters.memory.jobs import MemoryIntake, MemoryStamps
from service.adapters.memory.others import MemoryChanges
from service.adapters.stores import Stores
from service.adapters.waiting import Waiters
from service.api import sessions
from service.api.app import create_app
from service.api.auditing import Recorder
from service.api.keyring import Keyring
from service.api.rating import Rating
from service.api.remembered import Remembered
from service.dashboard.mounting import mount
from service.datasets.record import DatasetVersion, key_of
from service.jobs.job import CheckpointPointer, Job
from service.jobs.layout import artifacts_prefix, checkpoint_prefix
from service.jobs.ports import Outcome, PreflightLoad, WorkerBeat
from service.spec.content import Inspected
from service.spec.verdict import Checked
from service.use_cases.access import Access
from tests.corpus.good import spec
from tests.services import services_of

SPEC = spec(["Flatten", {"type": "Linear", "in_features": 64, "out_features": 10}])
NOW = datetime.now(tz=UTC)
RED, BLUE = "red", "blue"
CONTENT = {"layout": "arrays", "samples": "numbers", "labels": "class", "classes": ["a", "b"], "sizes": {"train": 9}, "shape": [4]}
"""What is in the data set of the red project."""


class LenientPreflight:
    """Every spec can be built."""

    def check(self, _: object) -> Checked:
        return Checked(resolved={"model": {"type": "Sequential", "layers": []}})

    def script(self, _: object) -> str:
        return "import torch\n"


class OnePredictor:
    """Every model says the same."""

    def predict(self, *_: object, **__: object) -> dict[str, Any]:
        return {"outputs": [1], "names": [], "classes": None, "probabilities": None}


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Somebody at the door: the headers that say who."""

    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class World:
    """The service, what is in its red project, and who comes."""

    app: FastAPI
    stores: Stores
    things: Mapping[str, str]
    """Ids of the red project's things, by the name that an address has for them."""
    visitors: Mapping[str, Visitor]

    async def ask(self, visitor: str, method: str, address: str, **options: Any) -> httpx2.Response:
        """What this visitor is answered."""
        headers = {**self.visitors[visitor].headers, **options.pop("headers", {})}
        transport = httpx2.ASGITransport(app=self.app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://trainyard.test") as client:
            return await client.request(method, address.format(**self.things), headers=headers, **options)


def application() -> FastAPI:
    """An app without anything behind it, to be furnished: making its routes takes longest."""
    nothing: Any = None
    app = create_app(
        services=nothing,
        changes=nothing,
        stamps=nothing,
        checks={},
        keyring=nothing,
        access=nothing,
        recorder=nothing,
        monitor=memory.stores(now=lambda: NOW).monitor,
        preflight_load=lambda: PreflightLoad(children=1, busy=0, asked=0, waited_seconds=0.0, refused=0),
    )
    mount(app)
    return app


def furnished(app: FastAPI, stores: Stores) -> World:
    """A world on empty stores."""
    artifacts = MemoryArtifacts()
    access = Access(
        store=stores.access, audit=stores.audit, accounts=stores.accounts, artifacts=artifacts, now=lambda: datetime.now(tz=UTC)
    )
    # requests come from many event loops here, which no connection outlives: jobs are taken in, and asked after, by threads' own clients
    intake = MemoryIntake(stores.jobs)  # type: ignore[arg-type]  # it asks for nothing but `submit`
    app.state.stamps, app.state.remembered = MemoryStamps(stores.jobs), Remembered()
    app.state.services = services_of(stores, artifacts=artifacts, preflight=LenientPreflight(), predictor=OnePredictor(), intake=intake)
    app.state.changes, app.state.access = MemoryChanges(Waiters()), access
    app.state.keyring, app.state.rating = Keyring(stores.access), Rating()
    app.state.recorder = Recorder(stores.audit)
    for name in (RED, BLUE, "empty"):
        stores.access.make(Project(name=name, created_at=NOW))
    things = {**_jobs(stores, artifacts), **_dataset(stores, artifacts)}
    visitors = _visitors(stores)
    things["key"] = stores.access.list()[0].id
    return World(app=app, stores=stores, things=things, visitors=visitors)


def _jobs(stores: Stores, artifacts: MemoryArtifacts) -> dict[str, str]:
    """One that is done, one that failed, one that runs and one that waits."""
    ids = {}
    for number, name in enumerate(("done", "failed", "running", "queued")):
        job = Job(id=f"job_0000000000{number}0123456789", name=f"secret-{name}", project=RED, spec=SPEC, resolved_spec=SPEC, created_at=NOW)
        stores.jobs.submit(job, idempotency=None)
        ids[name] = job.id
        if name == "queued":
            continue
        claim = stores.attempts.claim(worker="w1", device="cpu")
        assert claim is not None
        if name == "done":
            prefix = checkpoint_prefix(RED, job.id, claim.token, 1)
            file = {"path": "model.safetensors", "size": 3, "sha256": hashlib.sha256(b"abc").hexdigest(), "content_type": "x/y"}
            manifest = json.dumps({"epoch": 1, "step": 1, "token": claim.token, "files": [file]}).encode()
            for folder in (prefix, artifacts_prefix(RED, job.id, claim.token)):
                artifacts.put_bytes(f"{folder}model.safetensors", b"abc")
                artifacts.put_bytes(f"{folder}manifest.json", manifest)
            stores.attempts.checkpoint(claim, CheckpointPointer(token=claim.token, epoch=1, step=1, prefix=prefix), keep=3)
        if name != "running":
            stores.attempts.finish(claim, Outcome(kind="succeeded" if name == "done" else "failed"))
    stores.workers.beat(WorkerBeat(name="w1", device="cpu", slots=1, busy=1, threads=1, jobs=(ids["running"],)))
    return ids


def _dataset(stores: Stores, artifacts: MemoryArtifacts) -> dict[str, str]:
    version = DatasetVersion(project=RED, name="pets", version="a" * 64, size=3, created_at=NOW)
    stores.datasets.put(version)
    ready = version.settled(Inspected.model_validate({"content": CONTENT}), at=NOW)
    stores.datasets.settle(ready)
    for file in ("upload", "sheet.png", "dataset.json"):
        artifacts.put_bytes(key_of(version, file), b"abc")
    return {"dataset": "pets", "version": "a" * 64}


def _visitors(stores: Stores) -> dict[str, Visitor]:
    """Everybody, by what is to be known of them."""
    number = iter(range(1, 100))

    def key(project: str, role: Role, **more: Any) -> tuple[Key, str]:
        key_id = f"{next(number):012x}"
        text = new_secret(key_id)
        secrets = (Secret(sha256=digest(text)),)
        made = Key(id=key_id, name=f"{role} of {project}", project=project, role=role, secrets=secrets, created_at=NOW, **more)
        stores.access.add(made)
        return made, text

    def bearer(text: str) -> Visitor:
        return Visitor(headers={"Authorization": f"Bearer {text}"})

    reader, (submitter, shown), admin = key(RED, Role.READ), key(RED, Role.SUBMIT), key(RED, Role.ADMIN)
    secret = stores.access.session_secret()
    cookie = sessions.Session.of(submitter, digest(shown), project=RED).cookie(secret)
    session = {"Cookie": f"{sessions.COOKIE}={cookie}"}
    return {
        "nobody": Visitor(),
        "stranger": bearer(new_secret("f" * 12)),
        "guesser": bearer(new_secret(submitter.id)),
        "mistyped": bearer(shown[:-1] + ("a" if shown[-1] != "a" else "b")),
        "expired": bearer(key(RED, Role.ADMIN, expires_at=NOW - timedelta(seconds=1))[1]),
        "revoked": bearer(key(RED, Role.ADMIN, revoked_at=NOW)[1]),
        "other": bearer(key(BLUE, Role.ADMIN)[1]),
        "read": bearer(reader[1]),
        "submit": bearer(shown),
        "admin": bearer(admin[1]),
        "installation": Visitor(headers={**bearer(key(EVERYWHERE, Role.ADMIN)[1]).headers, "Trainyard-Project": RED}),
        "session": Visitor(headers={**session, "X-CSRF-Token": sessions.csrf_token(cookie, secret)}),
        "forged": Visitor(headers=session),
    }
