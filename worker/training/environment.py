"""What the numbers depend on besides the spec: versions, CPU, threads, the variables that steer the maths libraries."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

STEERING = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "ATEN_CPU_CAPABILITY",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_VISIBLE_DEVICES",
)


def environment(*, threads: int, device: torch.device) -> dict[str, Any]:
    """The environment of this process, as environment.json holds it."""
    from importlib.metadata import version

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": version("torchvision"),
        "cpu": _cpu_model(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": threads,
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "variables": {name: os.environ[name] for name in STEERING if name in os.environ},
    }


def hardware(device: torch.device) -> dict[str, Any]:
    """What another attempt has to share for its weights to have the same bits, besides the spec."""
    return {
        "torch": torch.__version__,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
    }


def changes(before: Mapping[str, Any], device: torch.device) -> list[str]:
    """What of the hardware that is known from before is another here, as `torch was 2.10, is 2.11`."""
    here = hardware(device)
    return [f"{name} was {was}, is {here[name]}" for name, was in before.items() if name in here and here[name] != was]


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
