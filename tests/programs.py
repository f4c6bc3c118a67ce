"""Runs a spec's train.py, in a process of its own, as its user would."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from unittest import mock

import torch
from safetensors.torch import load_file

from service.spec.job import JobSpec
from worker.training.environment import environment
from worker.training.script import render


def program_weights(spec: JobSpec, folder: Path) -> dict[str, torch.Tensor]:
    """The weights that the spec's train.py saves."""
    about = environment(threads=spec.resources.threads or 1, device=torch.device("cpu"))
    (folder / "train.py").write_text(render(spec, about))
    return run_program(folder)


def run_program(folder: Path) -> dict[str, torch.Tensor]:
    """The weights that the train.py in a folder saves."""
    subprocess.run([sys.executable, "-W", "error", "train.py", "--out", "again.safetensors"], cwd=folder, check=True, timeout=120)
    return load_file(folder / "again.safetensors")


def weights_here(spec: JobSpec, folder: Path, *, data: Path | None = None) -> dict[str, torch.Tensor]:
    """The weights that the spec's train.py saves, run in this very process: torch is imported already, so it costs its training alone."""
    about = environment(threads=spec.resources.threads or 1, device=torch.device("cpu"))
    (folder / "train.py").write_text(render(spec, about))
    with mock.patch.object(sys, "argv", ["train.py", "--out", str(folder / "again.safetensors"), *(["--data", str(data)] if data else [])]):
        runpy.run_path(str(folder / "train.py"), run_name="__main__")
    return load_file(folder / "again.safetensors")
