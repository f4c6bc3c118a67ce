"""Whom each route lets in: one table of all of them, asked by everybody. A route without a row fails.

The rows are of the red project's things; `other` is an admin of the blue project, and what is not its own is not there for it.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
import redis
from fastapi import FastAPI, Request

from service.access.principal import Role
from service.adapters import memory, redis_jobs
from service.adapters.memory.jobs import MemoryJobs
from service.api.auth import while_let_in
from service.api.keyring import Keyring
from tests.doors import doors, routes_of, whole_app
from tests.worlds import NOW, SPEC, World, application, furnished

KEYLESS = ("nobody", "stranger", "guesser", "mistyped", "expired", "revoked")
"""Who has no good key: none, one of another service, a right id with a wrong secret, a typo, one that ended, one that was ended."""
ROLES = {
    "read": Role.READ,
    "submit": Role.SUBMIT,
    "session": Role.SUBMIT,
    "forged": Role.SUBMIT,
    "admin": Role.ADMIN,
    "installation": Role.ADMIN,
}
PUBLIC = None
NEW_KEY = {"json": {"name": "ci"}}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A route as it is asked, the least role that it takes, and what it answers: to who may, to the other project, to who is special."""

    route: str
    address: str
    role: Role | None
    ok: int
    other: int
    options: Mapping[str, Any] = field(default_factory=dict)
    but: Mapping[str, int] = field(default_factory=dict)

    @property
    def method(self) -> str:
        return self.route.partition(" ")[0]

    @property
    def is_page(self) -> bool:
        return not self.address.startswith(("/v1/", "/metrics"))

    def expected(self, visitor: str) -> int:
        """The status that the visitor gets."""
        if visitor in self.but:
            return self.but[visitor]
        if self.role is PUBLIC:
            return self.ok
        if visitor in KEYLESS:
            return 303 if self.is_page else 401
        if visitor == "forged" and self.method != "GET":
            return 403
        if visitor == "other":
            return self.other
        return self.ok if ROLES[visitor].allows(self.role) else 403


def row(route: str, role: Role | None, ok: int, other: int, address: str = "", but: Mapping[str, int] | None = None, **options: Any) -> Row:
    return Row(route=route, role=role, ok=ok, other=other, address=address or route.partition(" ")[2], options=options, but=but or {})


JOB, UI_JOB, DATASET = "/v1/jobs/{job_id}", "/ui/jobs/{job_id}", "/v1/datasets/{name}"
EVERYWHERE_ONLY = {"admin": 403, "other": 403}
TABLE = [
    # jobs
    row("POST /v1/jobs", Role.SUBMIT, 202, 202, json=SPEC),
    row("POST /v1/jobs/validate", Role.READ, 200, 200, json=SPEC),
    row("POST /v1/jobs/script", Role.READ, 200, 200, json=SPEC),
    row("GET /v1/jobs", Role.READ, 200, 200),
    row(f"GET {JOB}", Role.READ, 200, 404, "/v1/jobs/{done}"),
    row(f"POST {JOB}/cancel", Role.SUBMIT, 202, 404, "/v1/jobs/{queued}/cancel"),
    row(f"POST {JOB}/pause", Role.SUBMIT, 202, 404, "/v1/jobs/{queued}/pause"),
    row(f"POST {JOB}/resume", Role.SUBMIT, 202, 404, "/v1/jobs/{queued}/resume"),
    row(f"POST {JOB}/retry", Role.SUBMIT, 202, 404, "/v1/jobs/{failed}/retry"),
    row(f"DELETE {JOB}", Role.SUBMIT, 204, 404, "/v1/jobs/{done}"),
    row(f"GET {JOB}/events", Role.READ, 200, 404, "/v1/jobs/{done}/events"),
    row(f"GET {JOB}/events", Role.READ, 200, 404, "/v1/jobs/{failed}/events", headers={"Accept": "text/event-stream"}),
    row(f"GET {JOB}/metrics", Role.READ, 200, 404, "/v1/jobs/{done}/metrics"),
    row(f"GET {JOB}/logs", Role.READ, 200, 404, "/v1/jobs/{done}/logs"),
    row(f"GET {JOB}/artifacts", Role.READ, 200, 404, "/v1/jobs/{done}/artifacts"),
    row(f"GET {JOB}/artifacts.zip", Role.READ, 200, 404, "/v1/jobs/{done}/artifacts.zip"),
    row(f"GET {JOB}/artifacts/{{path:path}}", Role.READ, 200, 404, "/v1/jobs/{done}/artifacts/model.safetensors"),
    row(f"GET {JOB}/checkpoints", Role.READ, 200, 404, "/v1/jobs/{done}/checkpoints"),
    row(f"GET {JOB}/checkpoints/{{step}}/{{path:path}}", Role.READ, 200, 404, "/v1/jobs/{done}/checkpoints/1/model.safetensors"),
    row(f"POST {JOB}/predict", Role.READ, 200, 404, "/v1/jobs/{done}/predict", json={"inputs": [[1]]}),
    # data sets
    row("GET /v1/datasets", Role.READ, 200, 200),
    row(f"PUT {DATASET}", Role.SUBMIT, 202, 202, "/v1/datasets/cats", content=b"abc"),
    row(f"GET {DATASET}", Role.READ, 200, 404, "/v1/datasets/{dataset}"),
    row(f"GET {DATASET}/{{version}}", Role.READ, 200, 404, "/v1/datasets/{dataset}/{version}"),
    row(f"GET {DATASET}/{{version}}/upload", Role.READ, 200, 404, "/v1/datasets/{dataset}/{version}/upload"),
    row(f"GET {DATASET}/{{version}}/sheet.png", Role.READ, 200, 404, "/v1/datasets/{dataset}/{version}/sheet.png"),
    row(f"DELETE {DATASET}", Role.SUBMIT, 204, 404, "/v1/datasets/{dataset}"),
    row(f"DELETE {DATASET}/{{version}}", Role.SUBMIT, 204, 404, "/v1/datasets/{dataset}/{version}"),
    # the installation
    row("GET /v1/workers", Role.READ, 200, 200),
    row("GET /v1/queue", Role.READ, 200, 200),
    row("GET /v1/storage", Role.READ, 200, 200),
    row("GET /v1/catalog", Role.READ, 200, 200),
    row("GET /v1/examples", Role.READ, 200, 200),
    row("GET /v1/schema/job.json", Role.READ, 200, 200),
    # who may
    row("GET /v1/me", Role.READ, 200, 200),
    row("POST /v1/keys", Role.ADMIN, 201, 201, **NEW_KEY),
    row("POST /v1/keys", Role.ADMIN, 201, 404, json={"name": "ci", "project": "red"}),
    row("POST /v1/keys", Role.ADMIN, 404, 404, json={"name": "ci", "project": "blue"}, but={"installation": 201, "other": 201}),
    row("POST /v1/keys", Role.ADMIN, 404, 404, json={"name": "ci", "project": "*", "role": "admin"}, but={"installation": 201}),
    row("GET /v1/keys", Role.ADMIN, 200, 200),
    row("GET /v1/keys/{key_id}", Role.ADMIN, 200, 404, "/v1/keys/{key}"),
    row("PATCH /v1/keys/{key_id}", Role.ADMIN, 200, 404, "/v1/keys/{key}", json={"name": "another"}),
    row("POST /v1/keys/{key_id}/rotate", Role.ADMIN, 200, 404, "/v1/keys/{key}/rotate"),
    row("DELETE /v1/keys/{key_id}", Role.ADMIN, 204, 404, "/v1/keys/{key}"),
    row("GET /v1/projects", Role.ADMIN, 200, 200),
    row("POST /v1/projects", Role.ADMIN, 201, 403, json={"name": "green"}, but=EVERYWHERE_ONLY),
    row("GET /v1/projects/{project}", Role.ADMIN, 200, 404, "/v1/projects/red"),
    row("GET /v1/projects/{project}", Role.ADMIN, 404, 404, "/v1/projects/empty", but={"installation": 200}),
    row("DELETE /v1/projects/{project}", Role.ADMIN, 404, 404, "/v1/projects/empty", but={"installation": 204}),
    row("DELETE /v1/projects/{project}", Role.ADMIN, 403, 404, "/v1/projects/red", but={"installation": 409}),
    row("GET /v1/quota", Role.READ, 200, 200),
    row("GET /v1/projects/{project}/quota", Role.ADMIN, 200, 404, "/v1/projects/red/quota"),
    row("GET /v1/projects/{project}/quota", Role.ADMIN, 404, 404, "/v1/projects/empty/quota", but={"installation": 200}),
    row("PUT /v1/projects/{project}/quota", Role.ADMIN, 403, 404, "/v1/projects/red/quota", json={"queued": 9}, but={"installation": 200}),
    row("PUT /v1/projects/{project}/quota", Role.ADMIN, 404, 404, "/v1/projects/empty/quota", json={}, but={"installation": 200}),
    row("GET /v1/audit", Role.ADMIN, 200, 200),
    # webhooks
    row(f"GET {JOB}/deliveries", Role.READ, 200, 404, "/v1/jobs/{done}/deliveries"),
    row(f"POST {JOB}/deliveries/{{delivery_id}}/replay", Role.SUBMIT, 404, 404, "/v1/jobs/{done}/deliveries/msg_none/replay"),
    row("GET /v1/webhooks/secret", Role.ADMIN, 200, 200),
    row("POST /v1/webhooks/secret/rotate", Role.ADMIN, 200, 200),
    row("GET /metrics", Role.ADMIN, 403, 403, but={"installation": 200}),
    # pages
    row("GET /", Role.READ, 200, 200),
    row("GET /jobs/new", Role.SUBMIT, 200, 200),
    row("GET /jobs/new", Role.SUBMIT, 200, 404, "/jobs/new?clone={done}"),
    row("GET /jobs/new", Role.SUBMIT, 200, 404, "/jobs/new?dataset={dataset}"),
    row("GET /jobs/{job_id}", Role.READ, 200, 404, "/jobs/{done}"),
    *(row(f"GET {UI_JOB}/{part}", Role.READ, 200, 404, f"/ui/jobs/{{done}}/{part}") for part in ("head", "layers", "results", "try")),
    *(
        row(f"GET {UI_JOB}/{part}", Role.READ, 200, 404, f"/ui/jobs/{{done}}/{part}")
        for part in ("log", "files", "spec", "program", "deliveries")
    ),
    row("GET /ui/sparks", Role.READ, 200, 200, "/ui/sparks?job={done}&job={running}"),
    row("POST /ui/check", Role.READ, 200, 200, content=b"epochs: 1"),
    row("POST /ui/edit", Role.READ, 200, 200, json={"text": "epochs: 1", "op": "set", "pointer": "/epochs", "value": 2}),
    row("GET /ui/explain", Role.READ, 200, 200, "/ui/explain?at=[]"),
    row("GET /compare", Role.READ, 200, 200, "/compare?job={done}&job={failed}"),
    row("GET /ui/compare/tables", Role.READ, 200, 200, "/ui/compare/tables?job={done}&job={failed}"),
    row("GET /ui/compare/choices", Role.READ, 200, 200, "/ui/compare/choices?q=secret"),
    row("GET /datasets", Role.READ, 200, 200),
    row("GET /ui/datasets", Role.READ, 200, 200),
    row("GET /datasets/{name}", Role.READ, 200, 404, "/datasets/{dataset}"),
    row("GET /ui/datasets/{name}", Role.READ, 200, 404, "/ui/datasets/{dataset}"),
    row("GET /ui/datasets/{name}/jobs", Role.READ, 200, 200, "/ui/datasets/{dataset}/jobs"),
    row("GET /workers", Role.READ, 200, 200),
    row("GET /ui/workers", Role.READ, 200, 200),
    row("GET /catalog", Role.READ, 200, 200),
    row("GET /catalog/{group}/{name}", Role.READ, 200, 200, "/catalog/layers/Linear"),
    row("GET /ui/catalog/{group}/{name}", Role.READ, 200, 200, "/ui/catalog/layers/Linear"),
    # what everybody may
    row("GET /healthz", PUBLIC, 200, 200),
    row("GET /readyz", PUBLIC, 200, 200),
    row("GET /version", PUBLIC, 200, 200),
    row("GET /openapi.json", PUBLIC, 200, 200),
    row("GET /docs", PUBLIC, 200, 200),
    row("GET /assets/{version}/{path:path}", PUBLIC, 200, 200, "/assets/x/app.css"),
    row("GET /sign-in", PUBLIC, 200, 200),
    row("POST /sign-in", PUBLIC, 401, 401, data={"key": "no key"}),
    row("POST /sign-out", PUBLIC, 403, 403),
    row("POST /ui/project", PUBLIC, 403, 403, data={"project": "blue"}),
]
VISITORS = (*KEYLESS, "other", *ROLES)


@pytest.fixture(scope="module")
def app() -> FastAPI:
    """Its routes are made once."""
    return application()


@pytest.fixture(params=["memory", "redis"])
def fresh(request: pytest.FixtureRequest, app: FastAPI) -> Iterator[Callable[[], World]]:
    """Makes worlds: two projects, one with things in it; in memory, and on a real Valkey."""
    if request.param == "memory":
        yield lambda: furnished(app, memory.stores(now=lambda: datetime.now(tz=UTC)))
        return
    url: str = request.getfixturevalue("redis_url")
    stores = redis_jobs.connect(url)
    with redis.Redis.from_url(url) as client:

        def emptied() -> World:
            client.flushdb()
            return furnished(app, stores)

        yield emptied
    stores.close()


def asked(world: World, row: Row, *visitors: str) -> dict[str, httpx2.Response]:
    """What each is answered, one after the other."""

    async def ask() -> dict[str, httpx2.Response]:
        return {visitor: await world.ask(visitor, row.method, row.address, **row.options) for visitor in visitors}

    return asyncio.run(ask())


def test_every_route_has_a_row_and_no_row_is_of_a_route_that_is_gone() -> None:
    routes = {f"{method} {route.path}" for route in routes_of(whole_app()) for method in (route.methods or ()) if method != "HEAD"}

    assert {row.route for row in TABLE} == routes


def test_rows_say_the_role_that_routes_declare() -> None:
    declared = {f"{method} {route.path}": doors(route) for route in routes_of(whole_app()) for method in (route.methods or ())}
    said = {row.route: row.role for row in TABLE if row.route != "GET /openapi.json"}

    assert {route: [door.role if door else None for door in declared[route]] for route in said} == {
        name: [role] for name, role in said.items()
    }


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.method} {row.address}")
def test_everybody_is_answered_as_the_table_says(row: Row, fresh: Callable[[], World]) -> None:
    """Who may not, in a world that they leave as it is; who may, each in one of their own, and the other project hears nothing of this one."""
    world = fresh()
    refused = [visitor for visitor in VISITORS if row.expected(visitor) in (401, 403, 404, 409)]
    before = everything(world)

    told = asked(world, row, *refused)

    assert {visitor: answer.status_code for visitor, answer in told.items()} == {visitor: row.expected(visitor) for visitor in refused}
    assert everything(world) == before
    some = VISITORS if isinstance(world.stores.jobs, MemoryJobs) else ("other", "submit", "admin")  # worlds take longer to make in Redis
    for visitor in set(some) - set(refused):
        world = fresh()
        (answer,) = asked(world, row, visitor).values()
        assert answer.status_code == row.expected(visitor), (visitor, answer.text[:500])
        if visitor == "other":
            assert "secret-" not in answer.text
            assert [
                name for name, thing in world.things.items() if thing in answer.text and thing not in row.address.format(**world.things)
            ] == []


def everything(world: World) -> dict[str, Any]:
    """What could have been changed."""
    stores = world.stores
    return {
        "jobs": [job.model_dump() for job in stores.jobs.list("red", limit=50, cursor=None).jobs],
        "datasets": stores.datasets.list("red"),
        "keys": stores.access.list(),
        "projects": stores.access.projects(),
    }


WARM = SPEC | {"model": {"type": "Job", "job_id": "JOB"}}
BROUGHT = SPEC | {"dataset": {"type": "Upload", "name": "pets"}}
NAMED = [(path, spec) for path in ("/v1/jobs", "/v1/jobs/validate", "/v1/jobs/script") for spec in (WARM, BROUGHT)]
"""Where a spec may name something of somebody's: every key that does."""


@pytest.mark.parametrize(("path", "spec"), NAMED, ids=lambda part: part if isinstance(part, str) else next(iter(part["dataset"].values())))
def test_a_spec_names_nothing_of_another_project(path: str, spec: Mapping[str, Any], fresh: Callable[[], World]) -> None:
    """What is not there and what is another's are told alike."""
    world = fresh()

    async def ask(visitor: str, job: str, dataset: str) -> tuple[int, Any]:
        body = json.loads(json.dumps(spec).replace("JOB", job).replace("pets", dataset))
        answer = await world.ask(visitor, "POST", path, json=body)
        told = answer.json() if answer.headers["content-type"].startswith("application/") else {}
        faults = [
            (fault["pointer"], fault["code"], fault["detail"].replace(job, "").replace(dataset, "")) for fault in told.get("errors", ())
        ]
        return answer.status_code, faults

    done = world.things["done"]
    others = asyncio.run(ask("other", done, "pets"))
    nobodys = asyncio.run(ask("other", f"job_{21 * 'f'}", "birds"))
    own, faults = asyncio.run(ask("submit", done, "pets"))

    assert others == nobodys
    assert [code for _, code, _ in others[1]] in (["no_job"], ["no_dataset"])
    assert (own, faults) == (202 if path == "/v1/jobs" else 200, [])


def test_every_answer_about_anothers_thing_is_that_about_nothing(fresh: Callable[[], World]) -> None:
    """Whoever guesses ids learns from no answer whether one is right."""
    world = fresh()
    nothing = dict.fromkeys(world.things, "nothing") | {"version": "b" * 64}
    stranger = World(app=world.app, stores=world.stores, things=nothing, visitors=world.visitors)

    for row in TABLE:
        if row.expected("other") == 404 and "{" in row.address:
            (about_another,), (about_nothing,) = (list(asked(each, row, "other").values()) for each in (world, stranger))
            texts = [about_another.text, about_nothing.text]
            for of, text in ((world, 0), (stranger, 1)):
                for thing in of.things.values():
                    texts[text] = texts[text].replace(thing, "X")
            assert texts[0] == texts[1], row.address


def test_idempotency_keys_of_two_projects_are_apart(fresh: Callable[[], World]) -> None:
    world = fresh()

    async def submit(visitor: str) -> httpx2.Response:
        return await world.ask(visitor, "POST", "/v1/jobs", json=SPEC, headers={"Idempotency-Key": "same"})

    first, others, again = (asyncio.run(submit(visitor)) for visitor in ("submit", "other", "admin"))

    assert first.json()["id"] == again.json()["id"] != others.json()["id"]
    assert "Idempotent-Replayed" not in others.headers


@pytest.mark.parametrize(("project", "status"), [("red", 404), ("nowhere", 404), ("blue", 200), ("default", 404)])
def test_a_key_of_one_project_acts_in_no_other(project: str, status: int, fresh: Callable[[], World]) -> None:
    """`Trainyard-Project` is for keys of the installation; to others only their own project is there."""
    answer = asyncio.run(fresh().ask("other", "GET", "/v1/me", headers={"Trainyard-Project": project}))

    assert answer.status_code == status


def test_a_key_of_the_installation_acts_in_the_project_that_is_named_and_there(fresh: Callable[[], World]) -> None:
    world = fresh()

    told = {
        project: asyncio.run(world.ask("installation", "GET", "/v1/jobs", headers={"Trainyard-Project": project}))
        for project in ("red", "blue", "nowhere")
    }

    assert {project: answer.status_code for project, answer in told.items()} == {"red": 200, "blue": 200, "nowhere": 404}
    assert (len(told["red"].json()["data"]), told["blue"].json()["data"]) == (4, [])


def test_workers_and_the_queue_tell_of_the_projects_own_jobs(fresh: Callable[[], World]) -> None:
    world = fresh()

    async def told(visitor: str) -> tuple[Any, Any]:
        (worker,) = (await world.ask(visitor, "GET", "/v1/workers")).json()["data"]
        return worker["jobs"], [each["id"] for each in worker["history"]]

    assert asyncio.run(told("read")) == ([world.things["running"]], [world.things[name] for name in ("running", "failed", "done")])
    assert asyncio.run(told("other")) == ([], [])


def test_a_service_without_keys_is_open_until_there_is_one(fresh: Callable[[], World]) -> None:
    """The first key is an admin's of the installation: else nobody could make the second."""
    world = fresh()
    world.app.state.keyring = Keyring(memory.stores(now=lambda: NOW).access)

    assert asyncio.run(world.ask("nobody", "GET", "/v1/me")).json()["everywhere"]


def test_a_stream_ends_with_the_key_that_asked_for_it(fresh: Callable[[], World]) -> None:
    """Nothing more is told once the key is revoked, though the stream was opened before."""
    world = fresh()
    authorization = world.visitors["read"].headers["Authorization"]
    scope = {
        "type": "http",
        "app": world.app,
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": [(b"authorization", authorization.encode())],
    }

    async def events() -> AsyncGenerator[str, None]:
        yield "first"
        key = next(key for key in world.stores.access.list() if key.name == "read of red")
        world.stores.access.replace(key.revoked(NOW))
        world.app.state.keyring.forget()
        yield "second"

    async def told() -> list[str]:
        return [said async for said in while_let_in(Request(scope), events())]

    assert asyncio.run(told()) == ["first"]


def test_a_long_poll_ends_with_the_key_that_asked_for_it(fresh: Callable[[], World]) -> None:
    """It was let in, and kept waiting; what has become of the job meanwhile is told to nobody whose key was revoked."""
    world = fresh()

    class Revoked:
        """The key is, while somebody waits with it."""

        @contextmanager
        def watch(self, _: str) -> Iterator[Revoked]:
            yield self

        async def wait(self, _: float) -> bool:
            key = next(key for key in world.stores.access.list() if key.name == "read of red")
            world.stores.access.replace(key.revoked(NOW))
            world.app.state.keyring.forget()
            world.stores.requests.cancel("red", world.things["queued"])
            return True

    world.app.state.changes = Revoked()
    answer = asyncio.run(world.ask("read", "GET", f"/v1/jobs/{world.things['queued']}?wait=9"))

    assert answer.status_code == 401
    assert "cancelled" not in answer.text


def test_an_installations_session_looks_at_the_project_that_it_chose(fresh: Callable[[], World]) -> None:
    """A form of its own pages, with their token; one of a single project finds no other."""
    world = fresh()

    async def story() -> list[Any]:
        text = world.visitors["installation"].headers["Authorization"].removeprefix("Bearer ")
        signed_in = await world.ask("nobody", "POST", "/sign-in", data={"key": text})
        cookie = {"Cookie": signed_in.headers["set-cookie"].split(";")[0]}
        token = re.findall(r'name="csrf_token" value="(\w+)"', (await world.ask("nobody", "GET", "/", headers=cookie)).text)[0]
        nowhere = await world.ask("nobody", "POST", "/ui/project", headers=cookie, data={"csrf_token": token, "project": "nowhere"})
        chosen = await world.ask("nobody", "POST", "/ui/project", headers=cookie, data={"csrf_token": token, "project": "red"})
        red = {"Cookie": chosen.headers["set-cookie"].split(";")[0]}
        out = await world.ask("nobody", "POST", "/sign-out", headers=cookie, data={"csrf_token": token})
        me = [(await world.ask("nobody", "GET", "/v1/me", headers=each)).json()["project"] for each in (cookie, red)]
        return [signed_in.status_code, nowhere.status_code, chosen.status_code, out.status_code, *me]

    assert asyncio.run(story()) == [303, 404, 303, 303, "default", "red"]


def test_a_session_ends_with_its_secret_and_with_its_key(fresh: Callable[[], World]) -> None:
    """Rotated without an overlap, or revoked: whoever was signed in is at the door again."""
    for end in (lambda key: key.rotated("0" * 64, now=NOW, overlap=timedelta()), lambda key: key.revoked(NOW)):
        world = fresh()
        key = next(key for key in world.stores.access.list() if key.name == "submit of red")

        before = asyncio.run(world.ask("session", "GET", "/v1/me")).status_code
        world.stores.access.replace(end(key))
        world.app.state.keyring.forget()
        after = asyncio.run(world.ask("session", "GET", "/v1/me")).status_code

        assert (before, after) == (200, 401)


def test_cookies_are_secure_where_the_way_is(fresh: Callable[[], World]) -> None:
    world = fresh()
    text = world.visitors["read"].headers["Authorization"].removeprefix("Bearer ")

    plain, encrypted = (
        asyncio.run(world.ask("nobody", "POST", f"{scheme}://trainyard.test/sign-in", data={"key": text})) for scheme in ("http", "https")
    )

    assert [("Secure" in answer.headers["set-cookie"]) for answer in (plain, encrypted)] == [False, True]
    assert all(
        "HttpOnly" in answer.headers["set-cookie"] and "SameSite=strict" in answer.headers["set-cookie"] for answer in (plain, encrypted)
    )


def test_pages_offer_what_the_role_may_do(fresh: Callable[[], World]) -> None:
    """Who only reads sees nothing to submit, cancel or remove with."""
    offered = re.compile(r'href="/jobs/new|data-post="|data-delete="|id="drop"|name="picked"')
    pages = (
        "/",
        "/jobs/{queued}",
        "/ui/jobs/{queued}/head",
        "/jobs/{done}",
        "/datasets",
        "/datasets/{dataset}",
        "/compare?job={done}",
        "/workers",
    )
    world = fresh()

    async def found(visitor: str) -> dict[str, int]:
        return {page: len(offered.findall((await world.ask(visitor, "GET", page)).text)) for page in pages}

    reader, submitter = asyncio.run(found("read")), asyncio.run(found("submit"))

    assert reader == dict.fromkeys(pages, 0)
    assert all(submitter.values())
