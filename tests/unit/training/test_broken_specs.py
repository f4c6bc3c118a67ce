"""Specs that cannot train are refused, each with the place and a word of the reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.checking import checked
from tests.corpus.broken import BROKEN, LAST

BASE = {
    "dataset": {"type": "FakeData", "size": 17, "image_size": [3, 8, 8], "num_classes": 3},
    "dataloader": {"batch_size": 8},
    "model": {"type": "Sequential", "layers": ["Flatten", LAST]},
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "SGD", "lr": 0.1},
    "epochs": 1,
}


def test_the_base_is_sound():
    """Else every case would be refused for the wrong reason."""
    assert checked(BASE).valid


@pytest.mark.parametrize(("changes", "pointer", "word"), BROKEN, ids=[json.dumps(changes)[:80] for changes, _, _ in BROKEN])
def test_a_broken_spec_is_refused_at_its_place(changes: dict[str, Any], pointer: str, word: str):
    """Nothing of it is accepted, and the fault says where."""
    verdict = checked(BASE | changes)

    assert not verdict.valid
    assert pointer in {fault.pointer for fault in verdict.errors if word in fault.detail + (fault.suggestion or "")}, verdict.errors


def test_there_are_enough_of_them():
    """As many as were promised."""
    assert len(BROKEN) >= 150


def test_all_faults_come_at_once():
    """Of every part, whatever is wrong with the others."""
    layers = [
        {"type": "Conv2d", "out_channels": 4, "kernel_size": 3, "in_channels": 1},
        "Flatten",
        {"type": "Linear", "out_features": 3, "in_features": 7},
    ]
    body = BASE | {
        "model": {"type": "Sequential", "layers": layers},
        "optimizer": {"type": "SGD", "learning_rate": 1},
        "epochs": 0,
        "colour": 1,
    }

    assert {fault.pointer for fault in checked(body).errors} == {
        "/model/layers/0/in_channels",
        "/model/layers/2/in_features",
        "/optimizer/learning_rate",
        "/epochs",
        "/colour",
    }


def test_layers_behind_an_unknown_output_are_named_as_unchecked():
    """A warning lists them."""
    layers = ["Flatten", {"type": "MaxPool3d", "kernel_size": 2}, "ReLU", LAST]

    verdict = checked(BASE | {"model": {"type": "Sequential", "layers": layers}})

    assert [(each.code, each.pointer) for each in verdict.warnings] == [("not_checked", "/model/layers/2")]
