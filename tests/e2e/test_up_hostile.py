"""Both hostile corpora against `trainyard up` as a user starts it, and all that it says of them: nothing gets out, in, or told."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from service.adapters import bubblewrap
from service.local import RUNNING
from tests.e2e.house import House, Told, found, frames, running_house
from tests.e2e.stack import children, until
from tests.e2e.test_hostile_jobs import HOSTILE, LIES, LITTER
from tests.unit.ingest.corpus import HOSTILE as UPLOADS
from tests.unit.ingest.corpus import class_folders, zipped

pytestmark = [
    pytest.mark.skipif(bubblewrap.unavailable() is not None, reason=str(bubblewrap.unavailable())),
    pytest.mark.timeout(300),
]
KEY, CANARY, SECRET = "key-1f9e4bb07a", "canary-93d1c2aa", "the-secret-of-another"
MARKER = "trainyard-secret-marker.txt"
IMAGES = {"type": "FakeData", "size": 64, "image_size": [1, 28, 28], "num_classes": 10}
DIGITS = {"type": "Digits", "limit": 200}
PETS = {"type": "ImageFolder", "root": "pets", "test_split": 0.4}
SUCCEEDED, FAILED, REFUSED = "succeeded", "user_code", "refused at POST"
LOST, FULL = "trainer_lost", "disk_full"


@dataclass(frozen=True)
class Row:
    """How a hostile module ends: its state, its reason, or at POST."""

    module: str
    ends: str
    dataset: Mapping[str, Any]
    arguments: Mapping[str, Any]
    is_short: bool = False
    """Whether it runs in the gate, as one of its class."""


def row(module: str, ends: str = SUCCEEDED, *, dataset: Mapping[str, Any] = IMAGES, is_short: bool = False, **arguments: Any) -> Row:
    return Row(module, ends, dataset, arguments, is_short)


# fill_memory is for a small container: on a machine nothing but the machine itself counts nameless files
CODE = (
    # what looks finds nothing, and says so by going well
    row("read_environments"),
    row("read_folders"),
    row("connect_ports"),
    row("connect_sockets"),
    row("trace_processes"),
    row("enter_kernel"),
    row("overwrite_service"),
    row("delete_inputs"),
    row("poison_caches"),
    row("reach_services", addresses="of this service", is_short=True),
    row("leave_daemon"),
    row("fill_disk", FULL),
    # what tells of what is not so is not believed
    row("forge_verdict", dataset=PETS, root="theirs", place="train", secret="secret", is_short=True),
    row("write_descriptors", FAILED),
    *(row("lie_in_facts", FAILED, dataset=DIGITS, lie=lie, theirs="theirs") for lie in LIES),
    *(row("litter_results", FAILED, dataset=DIGITS, litter=litter, theirs="theirs") for litter in LITTER),
    # what ends itself has ended itself
    row("kill_everything", is_short=True),
    row("fork_forever", REFUSED),
    row("allocate_forever", REFUSED),
    row("sleep_forever", REFUSED),
    row("spin_forever", REFUSED),
    row("end_early", LOST, way="at once"),
    row("end_early", LOST, way="by a fault"),
)
ENDLESS = (row("print_forever"), row("end_early", way="stopped"), row("end_early", way="without pipes"))
"""What goes on until somebody has enough of it."""
SHORT_UPLOADS = (
    *("zip slip", "zip of one entry many times", "tar symbolic link", "tar map without end", "image with a bomb for a text"),
    *("npz with a pickle", "csv column that steers a terminal", "parquet of 200 million zeros"),
)
EMPTY = "nothing at all"
"""Refused at once: there is nothing to look at."""


@dataclass(frozen=True, kw_only=True)
class Besieged:
    """The service, all that it told, and what is not to be had from it."""

    house: House
    told: Told
    theirs: Path
    parts: Mapping[str, int]
    digest: str
    """Of the ordinary job's weights, before anything happened."""

    def spec(self, row: Row) -> dict[str, Any]:
        known = {"theirs": str(self.theirs), "secret": str(self.theirs / MARKER), "of this service": self.addresses()}
        arguments = {name: known.get(value, value) for name, value in row.arguments.items()}
        code = (HOSTILE / f"{row.module}.py").read_text()
        return {
            "dataset": row.dataset,
            "model": {"type": "Module", "class_name": "Net", "code": code, "kwargs": arguments},
            "loss": "CrossEntropyLoss",
            "optimizer": "SGD",
            "epochs": 1,
            "resources": {"max_retries": 0},
        }

    def addresses(self) -> list[list[Any]]:
        """Where its API and its stores listen."""
        stores = json.loads((self.house.data / RUNNING).read_text())
        urls = (stores["REDIS_URL"], stores["S3_ENDPOINT_URL"], self.house.client.url)
        return [["127.0.0.1", int(re.findall(r":(\d+)", url)[-1])] for url in urls]

    def submit(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """The job, or the refusal."""
        return dict(self.told.ask("POST", "/v1/jobs", json=spec).json())

    def ended(self, job_id: str) -> dict[str, Any]:
        job = self.house.client.wait(job_id, timeout=200)
        self.told.take_all(job_id)
        return job

    def ordinary(self) -> str:
        """The digest of an ordinary job's weights."""
        job = self.ended(self.submit(SMALL)["id"])
        assert job["state"] == "succeeded", job["error"]
        return str(next(file["sha256"] for file in self.house.client.artifacts(job["id"]) if file["path"] == "model.safetensors"))

    def contained(self) -> list[int]:
        """Processes of contained training, wherever in its family."""
        family = [self.house.pid]
        for pid in family:  # grows while it is read
            family += children(pid)
        return [pid for pid in family if b"\0train\0" in command_of(pid)]


SMALL = {
    "dataset": DIGITS,
    "model": {"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "out_features": 10}]},
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "SGD", "lr": 0.1},
    "epochs": 1,
}


def files_below(folder: Path) -> list[str]:
    """The paths of what lies there, while others remove some of it."""
    return [f"{inside}/{name}" for inside, _, names in os.walk(folder) for name in names]


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


@pytest.fixture(scope="module")
def besieged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Besieged]:
    """`trainyard up` with the operator's own data, and somebody else's data beside, which its processes may read."""
    folder, data = tmp_path_factory.mktemp("house"), tmp_path_factory.mktemp("data")
    data.chmod(0o755)
    for place in (data / "datasets" / "pets", data / "theirs"):
        for name, content in class_folders().items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
    (data / "theirs" / MARKER).write_text(SECRET)
    settings = {"SOME_TOKEN": CANARY, "TRAINYARD_DATASETS_DIR": str(data / "datasets")}
    with running_house(folder, key=KEY, **settings) as house, closing(Told(house.client.url, KEY)) as told:
        until(lambda: told.ask("POST", "/v1/jobs/validate", json=SMALL).status_code == 200, seconds=120)
        before = Besieged(house=house, told=told, theirs=data / "theirs", parts=house.parts(), digest="")
        yield Besieged(house=house, told=told, theirs=data / "theirs", parts=house.parts(), digest=before.ordinary())
    shutil.rmtree(data)


def name_of(row: Row) -> str:
    """For people who read the tests' names."""
    said = [str(value) for name, value in row.arguments.items() if name in ("lie", "litter", "way", "forged")]
    return " ".join([row.module, *said])


@pytest.mark.parametrize("row", [pytest.param(each, id=name_of(each), marks=() if each.is_short else pytest.mark.long) for each in CODE])
def test_hostile_code_ends_as_it_should_and_takes_nothing_with_it(row: Row, besieged: Besieged):
    """What it finds would be its error; whatever it does is its own, and over with it."""
    answer = besieged.submit(besieged.spec(row))
    if row.ends == REFUSED:
        assert (answer["status"], bool(answer["errors"])) == (422, True), answer
        return

    assert "id" in answer, answer
    job = besieged.ended(answer["id"])

    assert (job["state"] if row.ends == SUCCEEDED else job["reason"]) == row.ends, job["error"]
    assert_unharmed(besieged, job["id"])


@pytest.mark.long
@pytest.mark.parametrize("row", ENDLESS, ids=name_of)
def test_hostile_code_that_does_not_end_is_cancelled(row: Row, besieged: Besieged):
    """However much it prints, which nobody keeps, and whether or not it hears."""
    job = besieged.submit(besieged.spec(row))["id"]
    until(lambda: besieged.house.client.get(job)["state"] == "running" and bool(besieged.contained()), seconds=60)

    besieged.house.client.cancel(job)

    assert besieged.ended(job)["state"] == "cancelled"
    assert "xxx" not in besieged.house.client.logs(job)
    assert_unharmed(besieged, job)


def assert_unharmed(besieged: Besieged, job_id: str) -> None:
    """Nothing of the job runs or lies about, what is another's is untouched, and all parts are those of before."""
    attempts = besieged.house.data / "work" / "attempts"
    until(lambda: not besieged.contained(), seconds=30)
    until(lambda: not [path for path in attempts.glob("*/*") if job_id in path.name], seconds=30)
    assert besieged.house.parts() == besieged.parts
    assert {path.name for path in besieged.theirs.iterdir()} == {"train", MARKER}
    assert (besieged.theirs / MARKER).read_text() == SECRET


@pytest.mark.parametrize("name", [pytest.param(each, marks=() if each in SHORT_UPLOADS else pytest.mark.long) for each in UPLOADS])
def test_a_hostile_upload_is_refused_and_nothing_of_it_stays(name: str, besieged: Besieged):
    """Looked at, told by name, and gone from disk and store; the record of the refusal is all that is left."""
    make, code, named = UPLOADS[name]
    house = besieged.house

    answer = besieged.told.ask("PUT", "/v1/datasets/hostile", content=make())
    if name == EMPTY:
        assert answer.status_code == 422
        return
    version = answer.json()["version"]
    house.client.wait_dataset("hostile", version, timeout=120)
    refused = besieged.told.ask("GET", f"/v1/datasets/hostile/{version}").json()
    besieged.told.ask("GET", "/datasets/hostile")

    assert refused["state"] == "invalid", refused
    assert any(flaw["code"] == code and named in f"{flaw['entry']} {flaw['detail']}" for flaw in refused["flaws"]), refused["flaws"]
    until(lambda: not [path for path in files_below(house.data / "s3") if version in path], seconds=20)
    until(lambda: {Path(path).name for path in files_below(house.data / "spool")} == {"lock"}, seconds=20)
    assert besieged.told.ask("GET", "/readyz").json()["status"] == "ok"


FORGED = ("of no numbers", "of another kind", "of brackets", "of many lines", "of a fault", "of a number")


@pytest.mark.long
@pytest.mark.parametrize("forged", FORGED)
def test_a_model_that_answers_what_is_no_answer_is_told_off(forged: str, besieged: Besieged):
    """A 4xx with a problem, and an ordinary model answers as before."""
    job = besieged.ended(besieged.submit(besieged.spec(row("forge_answer", dataset=DIGITS, forged=forged)))["id"])
    assert job["state"] == "succeeded", job["error"]

    answer = besieged.told.ask("POST", f"/v1/jobs/{job['id']}/predict", json={"inputs": [[[0.5] * 8] * 8]})

    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.long
def test_weights_that_are_a_pickle_are_loaded_by_nobody(besieged: Besieged):
    """Neither by who asks the model, nor by a job that starts from it: what they hold would run as the worker, and leave a file with another."""
    spec = besieged.spec(row("poison_weights", dataset=DIGITS, theirs="theirs"))
    poisoned = besieged.ended(besieged.submit(spec)["id"])
    assert poisoned["state"] == "succeeded", poisoned["error"]

    asked = besieged.told.ask("POST", f"/v1/jobs/{poisoned['id']}/predict", json={"inputs": [[[0.5] * 8] * 8]})
    warm = besieged.ended(besieged.submit(spec | {"model": {"type": "Job", "job_id": poisoned["id"]}})["id"])

    assert (asked.status_code, asked.headers["content-type"]) == (422, "application/problem+json"), asked.text
    assert warm["state"] == "failed"
    assert_unharmed(besieged, warm["id"])


def test_afterwards_all_is_as_before(besieged: Besieged):
    """An ordinary job has the very weights, an ordinary upload is taken, and nobody had to be started again."""
    assert besieged.ordinary() == besieged.digest
    sent = besieged.told.ask("PUT", "/v1/datasets/ordinary", content=zipped(class_folders())).json()
    assert besieged.house.client.wait_dataset("ordinary", sent["version"], timeout=60)["state"] == "ready"
    assert besieged.house.parts() == besieged.parts


def test_nothing_of_it_all_was_told(besieged: Besieged):
    """No answer, record or log has a secret, and no answer says where the service lies."""
    house, answers = besieged.house, besieged.told.texts | besieged.house.records()
    stores = json.loads((house.data / "keys.json").read_text())
    secrets = [*stores.values(), KEY, CANARY, SECRET]
    commands = {f"command of {name}": command_of(pid).decode() for name, pid in house.parts().items()}

    assert len(answers) > 50
    assert found(secrets, answers | house.logs() | commands) == []
    assert found(house.places(), answers) == []
    assert frames(answers) == []
