"""`training.deterministic`: on a GPU torch is told to take operators that give the same bits each time, and to warn where it has none."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from unittest import mock

import pytest
import torch

from service.spec.job import JobSpec
from tests.checking import resolved
from worker.training.device import device_of, on_nondeterminism

BODY = {
    "dataset": "Digits",
    "model": {"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "out_features": 10}]},
    "loss": "CrossEntropyLoss",
    "optimizer": "SGD",
    "epochs": 1,
}


@pytest.fixture
def settings() -> Iterator[None]:
    """Torch's settings, put back afterwards."""
    filled = torch.utils.deterministic.fill_uninitialized_memory
    with mock.patch.dict(os.environ), warnings.catch_warnings():
        os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
        warnings.simplefilter("always")
        yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = filled
    torch.backends.cudnn.benchmark = False


def spec_for(device: str, *, deterministic: bool) -> JobSpec:
    """A job of that device."""
    return resolved(BODY | {"resources": {"device": device, "threads": 1}, "training": {"deterministic": deterministic}})


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(("device", "deterministic", "told"), [("gpu", True, True), ("gpu", False, False), ("cpu", True, False)])
def test_torch_is_told_where_it_matters(device: str, deterministic: bool, told: bool):
    """On a GPU, unless the spec says otherwise, with the workspace that cuBLAS needs for it; no tensor is needed to say so."""
    device_of(spec_for(device, deterministic=deterministic))

    assert torch.are_deterministic_algorithms_enabled() == told
    assert torch.is_deterministic_algorithms_warn_only_enabled() == told
    assert ("CUBLAS_WORKSPACE_CONFIG" in os.environ) == told
    assert torch.backends.cudnn.benchmark == (device == "gpu" and not deterministic)


@pytest.mark.usefixtures("settings")
def test_an_operator_without_such_a_form_is_named_once_and_runs():
    """A warning, not an error: max-unpooling has none, not even on the CPU. Other warnings go where they went."""
    others: list[str] = []
    warnings.showwarning = lambda message, *_: others.append(str(message))
    told: list[str] = []
    device_of(spec_for("gpu", deterministic=True))
    on_nondeterminism(told.append)
    output, indices = torch.nn.MaxPool2d(2, return_indices=True)(torch.rand(1, 1, 4, 4))

    for _ in range(2):
        assert torch.nn.MaxUnpool2d(2)(output, indices).shape == (1, 1, 4, 4)
    warnings.warn("of something else", stacklevel=1)

    assert told == ["max_unpooling2d_forward_out"]
    assert others == ["of something else"]
