"""Every key of a spec is explained, of the records that check it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from service.api.examples import examples
from service.dashboard.explaining import Explanation, Step, explained, needed
from service.dashboard.gallery import gallery
from service.spec.catalog import load
from service.spec.faults import records_in
from service.spec.job import JobSpec

LINEAR: list[Step] = [("model", "Sequential"), ("layers", None), (1, "Linear")]


def told(*steps: Step) -> Explanation:
    """Of a place that has an explanation."""
    found = explained(steps)
    assert found is not None
    return found


def test_a_key_says_what_it_takes_and_what_leaving_it_out_means() -> None:
    """Kind, range, default and help of the catalog."""
    argument = told(("optimizer", "SGD"), ("lr", None)).argument

    assert argument is not None
    assert (argument.kind, argument.default, argument.help) == ("number, at least 0", "0.001", "Learning rate.")
    assert not argument.required


@pytest.mark.parametrize(
    ("steps", "kind"),
    [
        ([*LINEAR, ("out_features", None)], "whole number, at least 1"),
        ([("dataloader", None), ("num_workers", None)], "whole number, 0 to 64"),
        ([("dataset", "MNIST"), ("validation_split", None)], "number, at least 0, below 1"),
        ([("optimizer", "Adam"), ("betas", None)], "list of 2 (number, at least 0, below 1)"),
        ([("training", None), ("precision", None)], "one of float32, bfloat16, float16, auto"),
        ([("training", None), ("compile", None)], "true or false; or one of reduce-overhead, max-autotune"),
        ([("seed", None)], "whole number, at least 0"),
        ([("loss", "MSELoss")], "loss"),
        ([("labels", None)], "object"),
    ],
)
def test_kinds_are_said_in_words(steps: list[Step], kind: str) -> None:
    """As people read them."""
    argument = told(*steps).argument

    assert argument is not None
    assert argument.kind == kind


def test_a_layer_is_told_with_all_its_arguments_and_its_neighbours() -> None:
    """What is needed stands first."""
    found = told(*LINEAR[:2], (0, "Conv2d"))

    assert found.thing is not None
    assert found.thing.kind == "layer"
    assert {each.name for each in found.thing.arguments} == set(load()["layers"]["Conv2d"]["args"])
    assert [each.name for each in found.thing.arguments if each.required] == [each.name for each in found.thing.arguments][:2]
    assert {"Conv1d", "Conv3d", "ConvTranspose2d"} <= {each.name for each in found.others}


@pytest.mark.parametrize(
    ("written", "meant"), [("Lin", "Linear"), ("relu", "ReLU"), ("maxpool", "MaxPool2d"), ("Dense", "Linear"), ("Batchnorm", "BatchNorm2d")]
)
def test_a_name_that_is_not_known_is_answered_with_those_that_are_close(written: str, meant: str) -> None:
    """Also while it is being typed."""
    found = told(*LINEAR[:2], (0, written), ("type", written))

    assert found.unknown == "type"
    assert meant in [each.name for each in found.others][:4]


def test_a_key_that_is_not_known_is_answered_with_those_that_are() -> None:
    """The one that is probably meant first."""
    found = told(("optimizer", "Adam"), ("learning_rate", None))

    assert found.unknown == "key"
    assert found.others[0].name == "lr"


def test_what_nobody_checks_is_not_explained() -> None:
    """A custom module's arguments, and labels."""
    assert explained([("model", "Module"), ("kwargs", None), ("hidden", None)]) is None
    assert explained([("labels", None), ("course", None)]) is None
    assert explained([]) is None
    assert explained([("model", None), ("x", None), ("y", None)]) is None


def test_every_key_that_a_spec_may_have_has_a_help() -> None:
    """But for what the service fills in."""
    waiting: list[type[BaseModel]] = [JobSpec]
    seen, silent = set[type[BaseModel]](), []
    while waiting:
        model = waiting.pop()
        if model in seen:
            continue
        seen.add(model)
        for name, field in model.model_fields.items():
            if name not in ("type", "content"):
                silent += [] if field.description else [f"{model.__name__}.{name}"]
                waiting += records_in(field.annotation)

    assert len(seen) > 300
    assert silent == []


def test_every_place_of_every_example_is_explained() -> None:
    """With the key's own help, or what stands there."""

    def places(node: Any, above: list[Step]) -> None:
        entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, value in entries:
            steps: list[Step] = [*above, (key, value.get("type") if isinstance(value, dict) else value if isinstance(value, str) else None)]
            if isinstance(key, str):
                found = explained(steps)
                assert found is not None, steps
                assert found.argument or found.thing, steps
                assert not found.unknown, steps
            if key not in ("kwargs", "labels"):
                places(value, steps)

    for spec in examples().values():
        places(spec, [])


def test_the_first_words_name_what_every_spec_needs() -> None:
    """Five keys."""
    assert [each.name for each in needed()] == ["dataset", "model", "loss", "optimizer", "epochs"]


def test_every_example_can_be_chosen_and_says_what_it_shows() -> None:
    """In one group each."""
    shown = [each for group in gallery().values() for each in group]

    assert sorted(each.name for each in shown) == sorted(examples())
    assert all(len(each.shows) > 20 for each in shown)
