"""Hostile uploads and hostile code against the composed service, and all that it says of them: refused, contained, and nothing told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.containers.composed import Composed, docker
from tests.e2e.house import Told, found, frames
from tests.e2e.stack import until
from tests.unit.ingest.corpus import HOSTILE as UPLOADS
from tests.unit.ingest.corpus import class_folders, zipped

pytestmark = pytest.mark.timeout(1800)
HOSTILE = Path(__file__).parents[1] / "hostile"
EMPTY = "nothing at all"
"""Refused at once: there is nothing to look at."""
SHORT = ("tar symbolic link", "npz with a pickle")
PLACES = ("/opt/trainyard", "/site-packages/", "/run/trainyard", "/work/attempts", "/work/uploads", "/spool/")
IMAGES = {"type": "FakeData", "size": 64, "image_size": [1, 28, 28], "num_classes": 10}
DIGITS = {"type": "Digits", "limit": 200}
PETS = {"type": "Upload", "name": "pets", "test_split": 0.4}


@dataclass(frozen=True, kw_only=True)
class Besieged:
    """The composed service, and everything that it answered."""

    composed: Composed
    told: Told
    pets: str
    """The version of an ordinary data set of images, which its worker has trained on."""
    secrets: list[str] = field(repr=False)

    def inside(self, service: str, command: str) -> str:
        return docker("exec", self.composed.container(service), "sh", "-c", command)

    def ended(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        answer = self.told.ask("POST", "/v1/jobs", json=spec)
        assert answer.status_code == 202, answer.text
        job = self.composed.client.wait(answer.json()["id"], timeout=300)
        self.told.take_all(job["id"])
        return job


def with_model(model: Mapping[str, Any], dataset: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "model": model,
        "loss": "CrossEntropyLoss",
        "optimizer": "SGD",
        "epochs": 1,
        "resources": {"max_retries": 0},
    }


def hostile(name: str, dataset: Mapping[str, Any], **arguments: str) -> dict[str, Any]:
    code = (HOSTILE / f"{name}.py").read_text()
    return with_model({"type": "Module", "class_name": "Net", "code": code, "kwargs": arguments}, dataset)


def ordinary(dataset: Mapping[str, Any]) -> dict[str, Any]:
    return with_model({"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "out_features": 10}]}, dataset)


@pytest.fixture(scope="module")
def besieged(composed: Composed) -> Iterator[Besieged]:
    """With a data set of images on its worker's disk, and the secrets of its parts, which the API's key is one of."""
    composed.scale(worker_cpu=1)
    composed.until_workers(1)
    with closing(Told(composed.url(1), composed.key)) as told:
        until(lambda: told.ask("POST", "/v1/jobs/validate", json=ordinary(DIGITS)).status_code == 200, seconds=200)
        sent = told.ask("PUT", "/v1/datasets/pets", content=zipped(class_folders())).json()
        assert composed.client.wait_dataset("pets", sent["version"], timeout=120)["state"] == "ready"
        kept = [
            docker("exec", composed.container(part), "sh", "-c", "cat /run/trainyard/*") for part in ("api", "worker-cpu", "redis", "minio")
        ]
        words = {word for line in "".join(kept).splitlines() for word in (line, *line.replace("@", ":").split(":")) if len(word) >= 20}
        assert len(words) >= 8
        made = Besieged(composed=composed, told=told, pets=sent["version"], secrets=sorted(words))
        assert made.ended(ordinary(PETS))["state"] == "succeeded"
        yield made


@pytest.mark.parametrize("name", [pytest.param(each, marks=() if each in SHORT else pytest.mark.long) for each in UPLOADS])
def test_a_hostile_upload_is_refused_and_nothing_of_it_stays(name: str, besieged: Besieged):
    """Looked at in the API's container, told by name, and gone from its disk and from storage."""
    make, code, named = UPLOADS[name]

    answer = besieged.told.ask("PUT", "/v1/datasets/hostile", content=make())
    if name == EMPTY:
        assert answer.status_code == 422
        return
    version = answer.json()["version"]
    besieged.composed.client.wait_dataset("hostile", version, timeout=120)
    refused = besieged.told.ask("GET", f"/v1/datasets/hostile/{version}").json()

    assert refused["state"] == "invalid", refused
    assert any(flaw["code"] == code and named in f"{flaw['entry']} {flaw['detail']}" for flaw in refused["flaws"]), refused["flaws"]
    until(lambda: besieged.inside("minio", f"find /data -type f -path '*{version}*'") == "", seconds=20)
    until(lambda: besieged.inside("api", "find /spool -type f ! -name lock") == "", seconds=20)
    assert besieged.told.ask("GET", "/readyz").json()["status"] == "ok"


def test_code_that_answers_for_its_check_is_shown_no_more_than_its_data(besieged: Besieged):
    """The secrets of the worker lie in its container, readable by whom it runs code as: a verdict of the code's own does not lead there."""
    place = f"work/uploads/{besieged.pets}/files/train"
    assert besieged.inside("worker-cpu", f"ls /{place} && cat /run/trainyard/redis_url")

    job = besieged.ended(hostile("forge_verdict", PETS, root="/", place=place, secret="/run/trainyard/redis_url"))  # a path

    assert job["state"] == "succeeded", job["error"]


@pytest.mark.parametrize(
    ("name", "dataset", "arguments", "ends"),
    [
        pytest.param("poison_caches", IMAGES, {}, None, marks=pytest.mark.long),
        pytest.param("end_early", IMAGES, {"way": "at once"}, "trainer_lost", marks=pytest.mark.long),
        pytest.param("end_early", IMAGES, {"way": "by a fault"}, "trainer_lost", marks=pytest.mark.long),
    ],
)
def test_hostile_code_ends_as_it_should(
    name: str, dataset: Mapping[str, Any], arguments: dict[str, str], ends: str | None, besieged: Besieged
):
    """And the next job trains, on the same worker."""
    job = besieged.ended(hostile(name, dataset, **arguments))

    assert job["reason"] == ends, job
    assert besieged.ended(ordinary(DIGITS))["state"] == "succeeded"


def test_nothing_of_it_all_was_told(besieged: Besieged):
    """No answer and no log has a secret, and no answer says where anything lies. The key is printed once, at the first start, as README says."""
    parts = ("api", "worker-cpu", "redis", "minio")
    logs = {part: besieged.composed.compose("logs", "--no-color", part) for part in parts}
    answers = {name: text.replace("/run/trainyard/redis_url", "") for name, text in besieged.told.texts.items()}  # which the code asks for

    assert len(answers) > 30
    assert all(logs[part] for part in ("api", "worker-cpu", "redis"))
    assert found(besieged.secrets, answers | logs) == []
    assert found(PLACES, answers) == []
    assert frames(answers) == []
