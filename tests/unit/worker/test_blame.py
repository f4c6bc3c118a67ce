"""What a job is told when its code raises, or ours does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from service.spec.model import Module
from worker.blame import scrubbed, trace
from worker.training.build import UserCodeFault, custom

CODE = """
import torch
class Net(torch.nn.Module):
    def __init__(self, wrong=False):
        super().__init__()
        if wrong:
            self.inner()
        self.linear = torch.nn.Linear(2, 2)
    def inner(self):
        raise LookupError("nothing there")
    def forward(self, x):
        return self.linear(x)
"""


def job_of(**more: Any) -> dict[str, Any]:
    return {"spec": {"model": {"type": "Module", "code": CODE, "class_name": "Net"}}, "directory": "/work/attempts/7", **more}


def test_its_own_lines_are_told_and_no_others():
    with pytest.raises(UserCodeFault) as raised:
        custom(Module(type="Module", code=CODE, class_name="Net", kwargs={"wrong": True}))

    assert trace(raised.value, job_of()).splitlines() == [
        "Trace of the model's code:",
        "  line 7, in __init__: self.inner()",
        '  line 10, in inner: raise LookupError("nothing there")',
        "UserCodeFault: LookupError: nothing there",
    ]


def test_what_torch_raises_under_it_is_told_at_its_line():
    model = custom(Module(type="Module", code=CODE, class_name="Net", kwargs={}))

    with pytest.raises(RuntimeError) as raised:
        model(torch.zeros(1, 3))

    told = trace(raised.value, job_of())
    assert "  line 12, in forward: return self.linear(x)" in told
    assert "RuntimeError: mat1 and mat2 shapes cannot be multiplied" in told
    assert sys.prefix not in told
    assert "File " not in told


def test_of_our_own_faults_only_the_error_is_told():
    with pytest.raises(FileNotFoundError) as raised:
        Path(torch.__file__).with_name("nothing").read_bytes()

    told = trace(raised.value, {"spec": {"model": "Identity"}})
    assert told == "FileNotFoundError: [Errno 2] No such file or directory: '(packages)/torch/nothing'"


def test_folders_of_the_machine_have_names():
    text = f"/work/attempts/7/x, /data/MNIST and {Path(__file__).parent.parent.parent.parent}/worker/trainer.py"

    assert (
        scrubbed(text, job_of(datasets_dir="/data"))
        == "(the attempt's folder)/x, (TRAINYARD_DATASETS_DIR)/MNIST and (trainyard)/worker/trainer.py"
    )
