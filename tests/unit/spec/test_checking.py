"""The verdict on a spec, where the half that builds is not to be believed."""

from __future__ import annotations

from typing import Any

import pytest

from service.spec.checking import verdict
from service.spec.verdict import Checked

CODE = "from torch import nn\n\n\nclass Net(nn.Module):\n    pass\n"
CUSTOM = {
    "dataset": {"type": "Digits", "limit": 100},
    "dataloader": {"batch_size": 10},
    "model": {"type": "Module", "class_name": "Net", "code": CODE},
    "loss": "CrossEntropyLoss",
    "optimizer": "SGD",
    "lr_scheduler": {"type": "OneCycleLR", "max_lr": 0.1},
    "epochs": 3,
}
FORGED = {
    "dataset": {"type": "ImageFolder", "root": "/run/trainyard"},
    "model": {"type": "Module", "class_name": "Other", "code": CODE},
    "lr_scheduler": {"type": "ConstantLR"},
    "resources": {"threads": 10**6},
    "project": "another",
}


def resolved(body: dict[str, Any], checked: Checked) -> dict[str, Any]:
    found = verdict(body, checked, threads=1).resolved_spec
    assert found is not None
    return found


@pytest.mark.parametrize(
    "model", [CUSTOM["model"], {"type": "Job", "job_id": f"job_{0:021x}", "checkpoint": "best", "model": CUSTOM["model"]}]
)
def test_custom_code_says_nothing_of_the_spec_that_is_trained(model: dict[str, Any]) -> None:
    """Its check runs it, and so it can answer in the check's place: other data, of the worker's own folders, would be shown to it in training."""
    body = CUSTOM | {"model": model}

    assert resolved(body, Checked(resolved=FORGED)) == resolved(body, Checked())
    assert resolved(body, Checked(resolved=FORGED))["lr_scheduler"]["total_steps"] == 3 * 10


def test_a_check_completes_the_model_and_the_schedule_and_nothing_else() -> None:
    body = CUSTOM | {"model": {"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "out_features": 10}]}}
    sized = {"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "in_features": 64, "out_features": 10}]}

    found = resolved(body, Checked(resolved=FORGED | {"model": sized, "lr_scheduler": {"total_steps": 30}}))

    assert (found["model"], found["lr_scheduler"]) == (sized, {"total_steps": 30})
    assert found | {"model": 0, "lr_scheduler": 0} == resolved(body, Checked()) | {"model": 0, "lr_scheduler": 0}
