"""Rows: a list of dicts that is a table, too."""

from __future__ import annotations

import json
import sys

import pandas as pd
import pytest

from service.client import Rows

ROWS = Rows([{"epoch": 1, "train_loss": 0.5}, {"epoch": 2, "train_loss": 0.25, "val_loss": 0.375}])


def test_rows_are_a_list() -> None:
    """They read, and become JSON, as the list that the service answered."""
    assert ROWS[1]["val_loss"] == 0.375
    assert json.loads(json.dumps(ROWS)) == [dict(row) for row in ROWS]


def test_columns_are_those_of_any_row() -> None:
    """A column that begins later has None before; one that is in no row is named with those that are."""
    assert ROWS.columns == ["epoch", "train_loss", "val_loss"]
    assert ROWS.column("val_loss") == [None, 0.375]
    with pytest.raises(KeyError, match="there are epoch, train_loss, val_loss"):
        ROWS.column("accuracy")


def test_rows_become_a_data_frame() -> None:
    """One row for each, columns in order, gaps as pandas has them; no rows make an empty frame."""
    frame = ROWS.to_pandas()

    expected = pd.DataFrame({"epoch": [1, 2], "train_loss": [0.5, 0.25], "val_loss": [float("nan"), 0.375]})
    pd.testing.assert_frame_equal(frame, expected)
    assert Rows().to_pandas().empty


def test_without_pandas_the_cure_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pandas is not installed, the error says how to get it."""
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(ModuleNotFoundError, match="pip install pandas"):
        ROWS.to_pandas()
