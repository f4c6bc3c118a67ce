"""`trainyard up` under everything that goes wrong: no answer, record or log tells a secret, and no answer where the service lies or how it is written."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from service.client.sdk import Client
from tests.e2e.house import House, Told, found, frames, running_house
from tests.e2e.stack import until
from tests.unit.ingest import corpus

CANARY = "canary-4b1f0c9e"
KEY = "key-7d20a6e1f3"
"""An API key; a value of the environment that no part has a use for stands beside it."""

RAISES = """
import os, torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        if self.training and self.calls > 5:
            raise ValueError(f"with {[item for item in os.environ.items() if '/' not in item[1]]}")
        return self.layer(x.flatten(1))
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """`trainyard up` with a key."""
    with running_house(tmp_path_factory.mktemp("house"), key=KEY, SOME_TOKEN=CANARY, TRAINYARD_LEASE_SECONDS="3") as running:
        yield running


@pytest.mark.timeout(600)
def test_nothing_is_told_that_is_nobodys_business(house: House, small: dict[str, Any]) -> None:
    with closing(Told(house.client.url, KEY)) as told:
        _look_into_everything(told, house, small)


def _look_into_everything(told: Told, house: House, small: dict[str, Any]) -> None:
    client, parts = house.client, house.parts()
    # which every user of the machine sees
    commands = {f"command of {name}": Path(f"/proc/{pid}/cmdline").read_bytes().decode() for name, pid in parts.items()}
    _bad_requests(told)
    _bad_uploads(told, client)
    jobs = _bad_jobs(told, client, small)
    for job in jobs:
        told.take_all(job)
    _broken_stores(told, jobs[0], small, parts)

    secrets = {**json.loads((house.data / "keys.json").read_text()), "the API's key": KEY, "the environment": CANARY}
    logs, records = house.logs(), house.records()

    assert len(told.texts) > 100
    assert len(logs) > 4
    assert any("artifact" in name for name in told.texts)
    assert found(secrets.values(), told.texts | logs | records | commands) == []
    assert found(house.places(), told.texts | records) == []
    assert frames(told.texts | records) == []


def _bad_requests(told: Told) -> None:
    long = "9" * 5000
    for path in (
        "/v1/jobs/nothing", "/v1/jobs?cursor=nothing", f"/v1/jobs?cursor={long}", "/v1/jobs?sort=%00", "/v1/jobs?limit=x", "/v1/jobs?state=no",
        f"/v1/jobs/x/events?after={long}", "/v1/datasets/..%2f..%2fetc", "/v1/datasets/x/y/upload", "/assets/x/..%2f..%2fmain.py", "/nowhere",
        "/jobs/nothing", "/ui/jobs/nothing/program", "/catalog/layers/nothing", "/ui/explain?at=no", "/v1/jobs/nothing/artifacts/%2fetc%2fpasswd",
    ):  # fmt: skip
        told.ask("GET", path)
    for body in (b"", b"{", b"[]", b"\xff\xfe", b'{"\\ud800": 1}', b'{"a":' * 5000, b"9" * 5000, b'{"epochs": NaN}', b"x" * 2**21):
        for path in ("/v1/jobs", "/v1/jobs/validate", "/v1/jobs/script", "/ui/check", "/ui/edit"):
            told.ask("POST", path, content=body, headers={"Content-Type": "application/json"})
    for body in (b"a: &a [*a]", b"!!python/object/apply:os.system [id]", b"a: !x y", b"? [1]\n: 2", b"\x00", b"a: '" + b"*" * 5000):
        told.ask("POST", "/v1/jobs", content=body, headers={"Content-Type": "application/yaml"})
    told.ask("GET", "/v1/jobs", headers={"Authorization": "Bearer wrong"})
    told.ask("GET", "/readyz")
    told.ask("POST", "/v1/jobs", content=b"{}", headers={"Origin": "http://elsewhere.example"})


def _bad_uploads(told: Told, client: Client) -> None:
    names = []
    for number, make in enumerate((lambda: b"", lambda: b"PK\x03\x04 torn", lambda: b"\x1f\x8b torn", lambda: b"PAR1 torn", lambda: b"a,b\n1\n",
                                   lambda: b"\x93NUMPY torn", lambda: corpus.npz(x=__import__("numpy").zeros(3)))):  # fmt: skip
        answer = told.ask("PUT", f"/v1/datasets/bad-{number}", content=make())
        if answer.status_code == 202:
            names.append(f"bad-{number}")
    for name in names:
        until(lambda name=name: client.dataset(name)["state"] != "validating", seconds=60)
        for path in (f"/v1/datasets/{name}", f"/datasets/{name}", f"/v1/datasets/{name}/0000/sheet.png"):
            told.ask("GET", path)
    assert names


def _bad_jobs(told: Told, client: Client, small: dict[str, Any]) -> list[str]:
    """One that goes well, and ones that fail in every part."""
    custom = {"type": "Module", "class_name": "Net", "code": RAISES}
    specs = [
        small,
        small | {"model": custom, "epochs": 3},
        small | {"model": custom | {"code": RAISES.replace("super().__init__()", "super().__init__(); 1 / 0")}},
        small | {"dataset": {"type": "MNIST"}},
        small | {"optimizer": {"type": "SGD", "lr": 1e30}, "epochs": 3},
    ]
    ids = []
    for spec in specs:
        answer = told.ask("POST", "/v1/jobs", json=spec)
        if answer.status_code == 503:
            until(lambda spec=spec: told.ask("POST", "/v1/jobs/validate", json=spec).status_code != 503, seconds=90)
            answer = told.ask("POST", "/v1/jobs", json=spec)
        if answer.status_code == 202:
            ids.append(answer.json()["id"])
    states = [client.wait(job, timeout=200)["state"] for job in ids]
    assert states[0] == "succeeded"
    assert "failed" in states
    return ids


def _broken_stores(told: Told, job: str, small: dict[str, Any], parts: dict[str, int]) -> None:
    """Redis and storage stand still, and answer nothing: then every kind of request."""
    for name in ("rclone", "valkey"):
        os.kill(parts[name], signal.SIGSTOP)
        try:
            for path in (
                (f"/v1/jobs/{job}/artifacts/train.py", "/readyz", "/", "/v1/jobs", f"/v1/jobs/{job}", "/v1/datasets")
                if name == "valkey"
                else ("/v1/jobs",)
            ):
                told.ask("GET", path)
            if name == "valkey":
                told.ask("POST", "/v1/jobs", json=small | {"seed": 99})
        finally:
            os.kill(parts[name], signal.SIGCONT)
    os.kill(parts["rclone"], signal.SIGKILL)
    told.ask("GET", f"/v1/jobs/{job}/artifacts")
    told.ask("GET", f"/v1/jobs/{job}/artifacts/model.safetensors")
    told.ask("GET", f"/ui/jobs/{job}/program")
    told.ask("GET", "/readyz")
