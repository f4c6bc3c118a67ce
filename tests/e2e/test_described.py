"""schemathesis over the whole description, against a running API: single requests, sequences, with and without a key."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.e2e.stack import Stack, running_stack
from tests.servers import S3Server

KEY = "key-of-this-test"
LONG = os.environ.get("TRAINYARD_LONG_TESTS") == "1"
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,"
    "unsupported_method"
)
"""Not that what was deleted is gone, for a revoked key is told of for good; nor the header Allow, for /v1/jobs/validate could be a job's, too."""

SPEC: dict[str, Any] = {
    "type": "object",
    "required": ["dataset", "model", "loss", "optimizer", "epochs"],
    "properties": {
        "dataset": {"enum": ["Digits", {"type": "Digits", "limit": 50}, {"type": "Upload", "name": "table"}, {"type": "MNIST"}]},
        "model": {
            "anyOf": [
                {"enum": [{"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "out_features": 10}]}]},
                {"type": "object", "required": ["type"], "properties": {"type": {"enum": ["Sequential", "torchvision", "Job", "Module"]}}},
            ]
        },
        "loss": {"enum": ["CrossEntropyLoss", {"type": "MSELoss"}, {"type": "None"}]},
        "optimizer": {"enum": [{"type": "SGD", "lr": 0.1}, {"type": "SGD", "lr": -1}, "Adam"]},
        "epochs": {"type": "integer"},
        "name": {"type": "string"},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "seed": {"type": "integer"},
    },
}
"""Of a job: small, so that much is sent. What a spec may be, and how it is refused, is tests/corpus's matter."""


@pytest.fixture(scope="module")
def service(valkey_url: str, s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An API with a key."""
    folder = tmp_path_factory.mktemp("stack")
    with running_stack(folder, redis_url=valkey_url, s3=s3.environment(), TRAINYARD_API_KEY=KEY, S3_BUCKET="described") as running:
        yield running


@pytest.fixture
def described(stack: Stack, small: dict[str, Any], tmp_path: Path) -> Path:
    """The API's own description, in which its parameters also name what is there: an ended job, a waiting one, a data set."""
    stack.start_worker()
    client = stack.client
    stack.until_checked(small)
    ended = client.wait(client.submit(small)["id"], timeout=120)
    assert ended["state"] == "succeeded"
    table = tmp_path / "table.csv"
    table.write_text("a,b\n1,2\n3,4\n")
    dataset = client.push("table", table)
    client.wait_dataset("table", dataset["version"], timeout=60)
    stack.end_workers()
    waiting = client.submit(small | {"seed": 7})["id"]
    known = {
        "job_id": [ended["id"], waiting],
        "name": ["table"],
        "version": [dataset["version"], dataset["version"][:8]],
        "key_id": [client.create_key("a")["id"]],
        "project": ["default"],
        "path": ["model.safetensors", "metrics.jsonl"],
    }
    description = httpx2.get(f"{client.url}/openapi.json", trust_env=False).json()
    description["components"]["schemas"]["Spec"] = SPEC
    for operations in description["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                _name_what_is_there(parameter, known)
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(description).replace('"$ref": "/v1/schema/job.json"', '"$ref": "#/components/schemas/Spec"'))
    return file


def _name_what_is_there(parameter: dict[str, Any], known: dict[str, list[Any]]) -> None:
    if parameter["in"] == "path" and parameter["name"] in known:
        parameter["schema"] = {"anyOf": [{"enum": known[parameter["name"]]}, parameter["schema"]]}
    if parameter["name"] == "wait":
        parameter["schema"]["maximum"] = 0.2  # a minute's wait is no fault, but takes a minute


def schemathesis(description: Path, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "schemathesis.cli", "run", str(description), "--url", url, "--no-color", "--output-truncate", "false"]
    return subprocess.run(
        [*command, "--generation-database", "none", "--warnings", "off", "--request-timeout", "30", *arguments],
        cwd=description.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
        env={**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
    )


@pytest.mark.timeout(1900)
def test_every_answer_is_a_described_one(stack: Stack, described: Path):
    """No server error, no undocumented answer, over single requests and sequences of them."""
    effort = ("--max-examples", "50", "--max-time", "900") if LONG else ("--max-examples", "3", "--max-time", "12")

    ended = schemathesis(described, stack.client.url, "-H", f"Authorization: Bearer {KEY}", "--checks", CHECKS, *effort)

    assert ended.returncode == 0, ended.stdout[:6000] + ended.stdout[-6000:] + ended.stderr[-2000:]
    assert "Traceback" not in (stack.folder / "api.log").read_text()


def test_nothing_is_told_without_a_key(stack: Stack, described: Path):
    """Every operation below /v1, asked for what is there: 401, and nothing else but what is refused before the key is looked at."""
    description = json.loads(described.read_text())
    operations = [(path, method) for path, says in description["paths"].items() for method in says if path.startswith("/v1/")]
    seen = {}
    with httpx2.Client(base_url=stack.client.url, trust_env=False) as client:
        for path, method in operations:
            parameters = description["paths"][path][method].get("parameters", [])
            there = {
                each["name"]: each["schema"]["anyOf"][0]["enum"][0]
                for each in parameters
                if "anyOf" in each["schema"] and each["in"] == "path"
            }
            address = path.format(**({"step": 1, "delivery_id": "none"} | there))
            for key in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic a2V5"}, {"Cookie": "trainyard_session=1.x"}):
                answer = client.request(method.upper(), address, headers=key, content=b"{}" if method in ("post", "put") else None)
                seen[method, path, *key] = answer.status_code

    assert len(operations) > 30
    assert {place: status for place, status in seen.items() if status != 401} == {}
