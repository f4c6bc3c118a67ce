"""What a job is told of an error: the lines of the code that was sent, and never where the service lies or how it came there."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

import worker
from worker.training.build import CODE


def trace(error: BaseException, job: Mapping[str, Any]) -> str:
    """For the job's log: the lines of its own code that the error went through, then the error itself."""
    code = _code(job["spec"]).splitlines()
    lines = [f"  line {at.lineno}, in {at.name}: {_line(code, at.lineno)}" for each in _chain(error) for at in _own(each)]
    said = scrubbed(f"{type(error).__name__}: {error}", job)
    return "\n".join(["Trace of the model's code:", *lines, said]) if lines else said


def scrubbed(text: str, job: Mapping[str, Any]) -> str:
    """The text with names in place of the machine's folders."""
    folders = {
        str(job.get("directory") or ""): "(the attempt's folder)",
        str(job.get("datasets_dir") or ""): "(TRAINYARD_DATASETS_DIR)",
        str(Path(torch.__file__).parent.parent): "(packages)",
        str(Path(worker.__file__).parent.parent): "(trainyard)",
    }
    for folder in sorted(filter(None, folders), key=len, reverse=True):
        text = text.replace(folder, folders[folder])
    return text


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error's cause first, as Python prints them."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        yield from _chain(before)
    yield error


def _own(error: BaseException) -> list[traceback.FrameSummary]:
    return [at for at in traceback.extract_tb(error.__traceback__) if at.filename == CODE]


def _code(spec: Mapping[str, Any]) -> str:
    """The source that was sent, of the job itself or of the one that it starts from."""
    model = spec.get("model")
    inner = model.get("model") if isinstance(model, Mapping) and model.get("type") == "Job" else model
    return str(inner.get("code", "")) if isinstance(inner, Mapping) else ""


def _line(code: list[str], number: int | None) -> str:
    return code[number - 1].strip() if number and number <= len(code) else ""
