"""Reading a spec: shorthand, defaults, and every fault with its place."""

from __future__ import annotations

import json

import pytest

from service.api.examples import examples
from service.spec.job import JobSpec, read_spec
from service.spec.text import MAX_BYTES, parse_body
from service.spec.verdict import SpecFaults
from tests.checking import complete_examples

GOOD = {
    "dataset": "MNIST",
    "model": {"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "out_features": 10}]},
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "SGD", "lr": 0.01},
    "epochs": 5,
}


def faults(body: dict) -> list[tuple[str, str]]:
    """(pointer, code) of every fault."""
    with pytest.raises(SpecFaults) as found:
        read_spec(body)
    return [(fault.pointer, fault.code) for fault in found.value.faults]


def with_layers(*layers: object) -> dict:
    """The good spec with other layers."""
    return GOOD | {"model": {"type": "Sequential", "layers": list(layers)}}


def test_a_bare_string_is_short_for_its_type():
    """Dataset, loss and layers may be written as strings."""
    assert read_spec(GOOD) == read_spec(GOOD | {"dataset": {"type": "MNIST"}, "loss": {"type": "CrossEntropyLoss"}})


def test_a_spec_survives_the_way_through_json():
    """What is dumped reads back equal."""
    spec = read_spec(GOOD)

    assert JobSpec.model_validate(json.loads(spec.model_dump_json())) == spec


@pytest.mark.parametrize("name", complete_examples())
def test_every_example_reads(name: str):
    """The examples are valid specs."""
    assert read_spec(examples()[name]).name == name


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, [("", "missing")] * 5),
        (GOOD | {"dataset": {"type": "MNIST", "content": {"layout": "table"}}}, [("/dataset", "value_error")]),
        (GOOD | {"dataset": {"type": "Upload", "content": "x"}}, [("/dataset/content", "model_type"), ("/dataset", "missing")]),
        (GOOD | {"dataset": {"type": "Upload", "name": "x"}}, [("/dataset", "not_looked_up")]),
        (GOOD | {"epochs": "5"}, [("/epochs", "int_type")]),
        (GOOD | {"epochs": True}, [("/epochs", "int_type")]),
        (GOOD | {"epochs": -1}, [("/epochs", "greater_than_equal")]),
        (GOOD | {"epochs": 0}, [("/epochs", "nothing_to_train")]),
        (GOOD | {"epoch": 5}, [("/epoch", "unknown_key")]),
        (GOOD | {"optimizer": {"type": "SDG", "lr": 1}}, [("/optimizer/type", "unknown_type")]),
        (GOOD | {"optimizer": "Sgdd"}, [("/optimizer", "unknown_type")]),
        (GOOD | {"optimizer": {"lr": 1}}, [("/optimizer", "missing")]),
        (GOOD | {"optimizer": {"type": "SGD", "learning_rate": 1}}, [("/optimizer/learning_rate", "unknown_key")]),
        (GOOD | {"optimizer": {"type": "SGD", "lr": float("nan")}}, [("/optimizer/lr", "finite_number")]),
        (GOOD | {"optimizer": {"type": "Adam", "betas": [0.9, 1.5]}}, [("/optimizer/betas/1", "less_than")]),
        (GOOD | {"dataset": {"type": "MNIST", "validation_split": 1}}, [("/dataset/validation_split", "less_than")]),
        (GOOD | {"checkpoint": {"monitor": "val_loss"}}, [("/checkpoint/monitor", "no_validation_split")]),
        (GOOD | {"dataset": {"type": "MNIST", "limit": 5}, "dataloader": {"drop_last": True}}, [("/dataloader/batch_size", "no_batches")]),
        (with_layers(), [("/model/layers", "too_short")]),
        (with_layers("Conv2D"), [("/model/layers/0", "unknown_type")]),
        (with_layers("Linear"), [("/model/layers/0", "missing")]),
        (with_layers({"type": "Dropout", "p": 2}), [("/model/layers/0/p", "less_than_equal")]),
        (with_layers({"type": "Linear", "out_features": 1, "bias": 1}), [("/model/layers/0/bias", "bool_type")]),
        (
            with_layers({"type": "Linear", "out_features": 0}, {"type": "ReLU", "a/b": 1}),
            [("/model/layers/0/out_features", "greater_than_equal"), ("/model/layers/1/a~1b", "unknown_key")],
        ),
    ],
)
def test_every_fault_names_its_place(body: dict, expected: list[tuple[str, str]]):
    """Pointers lead into the body as sent, all faults at once."""
    assert faults(body) == expected


@pytest.mark.parametrize(
    ("body", "meant"),
    [
        (GOOD | {"optimizer": {"type": "SGD", "learning_rate": 1}}, "`lr`"),
        (GOOD | {"optimizer": "adamw"}, "`AdamW`"),
        (with_layers("Conv2D"), "`Conv2d`"),
        (with_layers({"type": "Linear", "out_feature": 3, "out_features": 3}), "`out_features`"),
        (GOOD | {"dataloder": {}}, "`dataloader`"),
    ],
)
def test_a_wrong_name_gets_the_one_that_was_meant(body: dict, meant: str):
    """The nearest known name is suggested."""
    with pytest.raises(SpecFaults) as found:
        read_spec(body)

    assert meant in (found.value.faults[0].suggestion or "")


def test_yaml_is_yaml_1_2():
    """1e-3 is a number, `no` is a word."""
    assert parse_body(b"{lr: 1e-3, answer: no}", "application/yaml") == {"lr": 0.001, "answer": "no"}


@pytest.mark.parametrize(
    ("data", "kind", "word"),
    [
        (b"{", "application/json", "line 1"),
        (b"a: [1", "application/yaml", "line"),
        (b'{"a": NaN}', "application/json", "NaN"),
        (b"[]", "application/json", "an object"),
        (b"\xff\xfe\x00", "application/json", "not JSON"),
        (b"x" * (MAX_BYTES + 1), "application/json", "bytes"),
        (b"[" * 100_000, "application/json", "not JSON"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "application/json", "nested"),
        (b"a: &a 1\nb: [" + b"*a," * 200 + b"]", "application/yaml", "aliases"),
        (b"!!python/object:os.system {}", "application/yaml", "not YAML"),
        (b"1: 2", "application/yaml", "keyed"),
    ],
)
def test_a_body_that_cannot_be_read_says_why(data: bytes, kind: str, word: str):
    """One fault, in plain words, with the line where there is one."""
    with pytest.raises(SpecFaults) as found:
        parse_body(data, kind)

    assert word in found.value.faults[0].detail
