"""What a check of a spec says: faults, warnings, the layer table. Shared by the API, the checking child and the worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A frozen, closed record."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Fault(Record):
    """One thing that is wrong with a spec: a JSON Pointer into the body as sent, what is wrong, what would be right."""

    pointer: str
    code: str
    detail: str
    suggestion: str | None = None


class SpecWarning(Record):
    """Something that trains, but probably not as meant; `suggestion` says what would be right."""

    pointer: str = ""
    code: str
    detail: str
    suggestion: str | None = None


class LayerRow(Record):
    """One leaf module in execution order. `output_shape` is without the batch dimension."""

    path: str
    type: str
    output_shape: tuple[int, ...]
    num_parameters: int


class Verdict(Record):
    """What the check found. `resolved_spec` has every default and size filled in; it is None where there are errors."""

    valid: bool
    errors: tuple[Fault, ...] = ()
    warnings: tuple[SpecWarning, ...] = ()
    resolved_spec: dict[str, Any] | None = None
    layers: tuple[LayerRow, ...] = ()
    num_parameters: int | None = None


class SpecFaults(ValueError):
    """The spec cannot be read; carries every fault found."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"{fault.pointer or '/'}: {fault.detail}" for fault in faults))
        self.faults = tuple(faults)
