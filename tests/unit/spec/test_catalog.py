"""The catalog against torch: nothing is forgotten in silence, and what is declared can be built."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch

import worker.training.vision  # noqa: F401  # before torchvision and torchmetrics
from service.spec.catalog import load
from service.spec.job import JobSpec
from worker.catalog.__main__ import CATALOG, generate
from worker.catalog.layers import OURS
from worker.catalog.left_out import CLASSES

import torchmetrics.classification  # isort: skip
import torchmetrics.regression  # isort: skip
from torchvision import datasets, models  # isort: skip
from torchvision.transforms import v2  # isort: skip


def classes(home: Any, base: type) -> set[str]:
    """The public classes of a module."""
    return {name for name, each in vars(home).items() if inspect.isclass(each) and issubclass(each, base)}


def test_every_module_of_torch_is_declared_or_left_out_with_a_reason():
    """Layers and losses both live in torch.nn."""
    known = {*load()["layers"], *load()["losses"], *CLASSES["layers"]} - OURS.keys()

    assert classes(torch.nn, torch.nn.Module) == known


@pytest.mark.parametrize(
    ("group", "home", "base"),
    [
        ("optimizers", torch.optim, torch.optim.Optimizer),
        ("schedulers", torch.optim.lr_scheduler, torch.optim.lr_scheduler.LRScheduler),
        ("transforms", v2, v2.Transform),
        ("datasets", datasets, torch.utils.data.Dataset),
    ],
)
def test_every_class_of_a_group_is_declared_or_left_out_with_a_reason(group: str, home: Any, base: type):
    """A torch that has one more fails here."""
    assert classes(home, base) == {*load()[group], *CLASSES[group]} - {"Digits", "Upload", "Table", "Tensors"}


def test_every_metric_is_declared_or_left_out_with_a_reason():
    """Torchmetrics names its classes in __all__; those of one task each stand behind the name without it."""
    offered = {
        name
        for home in (torchmetrics.classification, torchmetrics.regression)
        for name in home.__all__
        if not name.startswith(("Binary", "Multi"))
    }

    assert offered == {*load()["metrics"], *CLASSES["metrics"]}


def test_every_classifier_of_torchvision_is_declared():
    """By name, with its weights."""
    assert set(load()["models"]) == set(models.list_models(module=models))
    assert "IMAGENET1K_V1" in load()["models"]["resnet18"]["weights"]


def test_the_committed_catalog_is_what_is_generated():
    """Signatures and overlay have not moved apart."""
    assert generate() == load()
    assert CATALOG.exists()


def test_no_reason_is_empty():
    """Who leaves something out says why."""
    assert all(reason for group in CLASSES.values() for reason in group.values())


def test_the_json_schema_has_shorthand_ranges_and_help():
    """What an editor completes and checks."""
    schema = JobSpec.model_json_schema()
    definitions = schema["$defs"]
    linear = definitions["Linear"]["properties"]

    assert linear["out_features"]["minimum"] == 1
    assert linear["out_features"]["description"]
    items = definitions["Sequential"]["properties"]["layers"]["items"]
    words = next(each["enum"] for each in items["anyOf"] if each.get("type") == "string")
    assert "ReLU" in words
    assert "Linear" not in words
    assert schema["required"] == ["dataset", "model", "loss", "optimizer", "epochs"]
