"""The artifacts' manifest: every file, and of an exported model how far it is from the trained one."""

from __future__ import annotations

import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from service.adapters.memory.others import MemoryArtifacts
from service.api.views import ArtifactView
from service.jobs.job import Job
from service.jobs.layout import artifacts_prefix
from service.jobs.ports import Claim
from service.jobs.state import JobState
from worker.uploads import Storage, Uploader

CLAIM = Claim(job=Job(id="job_1", created_at=datetime(2026, 1, 1, tzinfo=UTC), spec={}, state=JobState.RUNNING), token=7, worker="w")
EXPORTED = {"max_abs_difference": 2e-7, "tolerance": 1e-4, "samples": 32, "preprocessing": False, "opset": 20}


def entries(folder: Path) -> dict[str, dict[str, Any]]:
    """What the manifest says of each file of a folder that was uploaded."""
    artifacts = MemoryArtifacts()
    Uploader(artifacts, Storage(patience_seconds=1, abandon=threading.Event(), tell=lambda _: None)).artifacts(CLAIM, folder)
    written = json.loads(b"".join(artifacts.open(artifacts_prefix("default", "job_1", 7) + "manifest.json")))
    return {file["path"]: file for file in written["files"]}


def test_an_exported_files_entry_says_how_far_it_is_and_the_api_passes_it_on(tmp_path: Path):
    """The difference, the tolerance, the samples, the opset; other files have none."""
    (tmp_path / "model.onnx").write_bytes(b"graph")
    (tmp_path / "exports.json").write_text(json.dumps({"model.onnx": EXPORTED}))

    found = entries(tmp_path)

    assert found["model.onnx"]["export"] == EXPORTED
    assert found["model.onnx"]["content_type"] == "application/octet-stream"
    assert "export" not in found["exports.json"]
    assert ArtifactView(**found["model.onnx"], url="").model_dump()["export"] == EXPORTED


@pytest.mark.parametrize(
    "text", ['{"model.onnx": {"max_abs_difference": "x"}}', "[1", '{"model.onnx": {"max_abs_difference": 1e999}}', '{"model.onnx": null}']
)
def test_custom_code_that_writes_something_else_there_spoils_no_manifest(tmp_path: Path, text: str):
    """It owns the folder; what is no record of an export is no part of an entry."""
    (tmp_path / "model.onnx").write_bytes(b"graph")
    (tmp_path / "exports.json").write_text(text)

    assert "export" not in entries(tmp_path)["model.onnx"]


def test_a_pipe_in_its_place_holds_nobody_up(tmp_path: Path):
    """Opening one would wait for a writer for ever."""
    (tmp_path / "model.onnx").write_bytes(b"graph")
    os.mkfifo(tmp_path / "exports.json")

    assert entries(tmp_path).keys() == {"model.onnx"}
