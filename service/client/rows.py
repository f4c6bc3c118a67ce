"""A table as a list of rows: what `job.metrics()` and the like give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


class Rows(list[dict[str, Any]]):
    """Rows, each a dict by column. A notebook shows a table; `to_pandas` makes a DataFrame.

    >>> rows = Rows([{"epoch": 1, "val_loss": 0.4}, {"epoch": 2, "val_loss": 0.3}])
    >>> rows.columns, rows.column("val_loss")
    (['epoch', 'val_loss'], [0.4, 0.3])
    """

    @property
    def columns(self) -> list[str]:
        """Every column that some row has, in the order in which they appear."""
        return list(dict.fromkeys(name for row in self for name in row))

    def column(self, name: str) -> list[Any]:
        """One column's values, None in rows without it. Raises KeyError where no row has it."""
        if name not in self.columns:
            raise KeyError(f"there is no column {name!r}; there are {', '.join(self.columns) or 'none'}")
        return [row.get(name) for row in self]

    def to_pandas(self) -> pd.DataFrame:
        """The same as a pandas.DataFrame. Raises ModuleNotFoundError where pandas is not installed."""
        try:
            import pandas as pd
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("to_pandas needs pandas: pip install pandas", name="pandas") from error
        return pd.DataFrame.from_records(list(self), columns=self.columns)

    def _repr_html_(self) -> str:
        from service.client.notebook import table

        return table(self)
