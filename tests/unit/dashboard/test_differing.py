"""What the comparison of specs shows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.dashboard import differing
from service.dashboard.differing import ABSENT, differences, in_words

FLATTEN = {"type": "Flatten", "start_dim": 1, "end_dim": -1}
RELU = {"type": "ReLU", "inplace": False}
DROPOUT = {"type": "Dropout", "p": 0.5, "inplace": False}


def linear(out: int, into: int = 64) -> dict[str, Any]:
    return {"type": "Linear", "in_features": into, "out_features": out, "bias": True}


def net(*layers: Any) -> dict[str, Any]:
    return {"model": {"type": "Sequential", "layers": list(layers)}, "epochs": 3}


def shown(*specs: Any) -> dict[str, list[Any]]:
    return {each.pointer: [cell.value for cell in each.cells] for each in differences(specs)}


def test_equal_specs_differ_in_nothing():
    assert differences([net(FLATTEN, linear(10))] * 3) == []


def test_only_what_differs_has_a_row():
    one, other = (
        {"seed": 1, "optimizer": {"type": "Adam", "lr": 0.1, "eps": 1e-8}},
        {"seed": 1, "optimizer": {"type": "Adam", "lr": 0.2, "eps": 1e-8}},
    )

    assert shown(one, other) == {"/optimizer/lr": [0.1, 0.2]}


def test_what_one_lacks_is_absent_there():
    assert shown({"a": 1, "b": {"c": None}}, {"a": 1}) == {"/b": [{"c": None}, ABSENT]}


def test_another_type_is_one_row_and_not_one_for_each_argument():
    one, other = {"optimizer": {"type": "Adam", "lr": 0.1}}, {"optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9}}

    assert shown(one, other) == {"/optimizer": [one["optimizer"], other["optimizer"]]}


@pytest.mark.parametrize("at", range(5))
def test_one_layer_more_is_one_row_wherever_it_stands(at: int):
    layers = [FLATTEN, linear(64), RELU, linear(10)]
    more = [*layers[:at], DROPOUT, *layers[at:]]

    assert shown(net(*layers), net(*more)) == {f"/model/layers/{at}": [ABSENT, DROPOUT]}
    assert shown(net(*more), net(*layers)) == {f"/model/layers/{at}": [DROPOUT, ABSENT]}


def test_a_changed_layer_behind_one_more_says_where_it_stands_in_each():
    found = differences([net(FLATTEN, linear(64), RELU, linear(10)), net(FLATTEN, linear(64), DROPOUT, RELU, linear(5))])

    assert [each.pointer for each in found] == ["/model/layers/2", "/model/layers/3/out_features"]
    assert [cell.place for cell in found[1].cells] == [None, "/model/layers/4/out_features"]
    assert found[1].owner == "Linear"


def test_a_layer_in_anothers_place_is_one_row():
    assert shown(net(FLATTEN, RELU, linear(10)), net(FLATTEN, {"type": "GELU"}, linear(10))) == {
        "/model/layers/1": [RELU, {"type": "GELU"}]
    }


def test_three_specs_are_laid_beside_one_another():
    found = shown(net(FLATTEN, linear(10)), net(FLATTEN, RELU, linear(10)), net(FLATTEN, RELU, DROPOUT, linear(20)))

    assert found == {
        "/model/layers/1": [ABSENT, RELU, RELU],
        "/model/layers/2": [ABSENT, ABSENT, DROPOUT],
        "/model/layers/1/out_features": [10, 10, 20],
    }


def test_layers_of_branches_are_aligned_too():
    def concat(*branch: Any) -> dict[str, Any]:
        return net({"type": "Concat", "dim": 1, "branches": [[RELU], list(branch)]})

    assert shown(concat(linear(3), RELU), concat(linear(3), DROPOUT, RELU)) == {"/model/layers/0/branches/1/1": [ABSENT, DROPOUT]}


def test_a_list_of_plain_values_is_one_value():
    assert shown({"mean": [0.1, 0.2]}, {"mean": [0.1, 0.3]}) == {"/mean": [[0.1, 0.2], [0.1, 0.3]]}


def test_what_is_left_out_has_no_row():
    assert (
        differences(
            [{"dataset": {"content": {"a": 1}}, "name": "a"}, {"dataset": {"content": {"a": 2}}, "name": "b"}],
            without=frozenset({"/dataset/content", "/name"}),
        )
        == []
    )


def test_very_long_lists_are_compared_place_by_place(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(differing, "MOST_CELLS", 3)

    assert shown(net(RELU, DROPOUT, FLATTEN), net(DROPOUT, FLATTEN, RELU)).keys() == {f"/model/layers/{at}" for at in range(3)}


LAYERS = st.lists(st.sampled_from([FLATTEN, RELU, DROPOUT, linear(10), linear(20)]), max_size=8)


@given(st.lists(LAYERS, min_size=2, max_size=4))
def test_rows_hold_every_item_of_every_list_once_and_in_order(lists: list[list[Any]]):
    """Whatever the lists: an alignment neither loses nor repeats anything."""
    rows = differing._aligned(lists)

    for which, items in enumerate(lists):
        assert [row[which] for row in rows if row[which] is not None] == list(range(len(items)))
    assert all(any(at is not None for at in row) for row in rows)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (DROPOUT, "Dropout()"),
        ({"type": "Dropout", "p": 0.2, "inplace": False}, "Dropout(p=0.2)"),
        ({"type": "Adam", "lr": 0.01, "betas": [0.9, 0.999], "groups": []}, "Adam(lr=0.01)"),
        ([0.1, 0.2], "[0.1, 0.2]"),
        (None, "null"),
        (True, "true"),
        ({"monitor": "val_loss", "patience": 2, "x": None}, "{monitor: val_loss, patience: 2}"),
        (ABSENT, ""),
    ],
)
def test_values_read_as_torch_writes_them(value: Any, words: str):
    assert in_words(value) == words
