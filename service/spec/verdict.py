"""What a check of a spec says: faults, warnings, the layer table. Shared by the API, the checking child and the worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, computed_field


class Record(BaseModel):
    """A frozen, closed record: what processes of one installation tell each other."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Kept(BaseModel):
    """A frozen record that is stored, and so meets other versions of this code.

    What a newer one wrote into it is handed on unread when it is written back; what an older one did not write has a default.
    """

    model_config = ConfigDict(frozen=True, extra="allow")


class Fix(Kept):
    """One change of the body that mends a fault; `service.spec.fixes` makes it. Where an object stands in short, as a bare string, it stands for {type: string}."""

    op: Literal["set", "insert", "rename", "remove"] = Field(
        description="`set` gives the pointer's place the value, and makes what is missing on the way; `insert` puts the value into a list, "
        "before that place or (`-`) at the end; `rename` gives the key the value as its name; `remove` takes key or item out."
    )
    pointer: str = Field(description="A JSON Pointer into the body as sent.")
    value: JsonValue = None


class Fault(Record):
    """One thing that is wrong with a spec: a JSON Pointer into the body as sent, what is wrong, what would be right.

    `fix` is the suggestion as a program can make it; None where there are several ways, or only the author knows.
    """

    pointer: str
    code: str
    detail: str
    suggestion: str | None = None
    fix: Fix | None = None


class SpecWarning(Kept):
    """Something that trains, but probably not as meant; `suggestion` says what would be right."""

    pointer: str = ""
    code: str
    detail: str
    suggestion: str | None = None
    fix: Fix | None = None


class LayerRow(Record):
    """One leaf module in execution order. `output_shape` is without the batch dimension."""

    path: str
    type: str
    output_shape: tuple[int, ...]
    num_parameters: int


class Memory(Record):
    """Bytes of a training step at its fullest, by what holds them; activations are those of a whole batch.

    Data are not counted: of each split a GPU holds up to a sixteenth of what it has free.
    """

    weights: int
    gradients: int
    optimizer_state: int
    activations: int
    """Kept for the backward pass, and the largest one's gradient."""
    scratch: int
    """Of the optimizer's step, when the activations are gone again."""

    @computed_field  # type: ignore[prop-decorator]  # pydantic's way
    @property
    def total(self) -> int:
        """The most of it that is held at one time."""
        return self.weights + self.gradients + self.optimizer_state + max(self.activations, self.scratch)


class Estimate(Kept):
    """Seconds that an epoch will take, learnt from finished jobs; None with a reason where none is like this one. Never a guess.

    Once the job has succeeded, what was measured stands beside; an error of 0.1 means that a tenth more was needed.
    """

    seconds_per_epoch: float | None = None
    reason: str | None = None
    memory_bytes: int | None = None
    measured_seconds_per_epoch: float | None = None
    measured_memory_bytes: int | None = None
    seconds_error: float | None = None
    memory_error: float | None = None


class Checked(Record):
    """What only building and running the model can tell. `resolved` holds the parts of the spec that the check filled in."""

    errors: tuple[Fault, ...] = ()
    warnings: tuple[SpecWarning, ...] = ()
    resolved: dict[str, Any] = {}
    layers: tuple[LayerRow, ...] = ()
    num_parameters: int | None = None
    flops_per_sample: int | None = None
    memory_bytes: Memory | None = None


class Verdict(Record):
    """What the check found. `resolved_spec` has every default and size filled in; it is None where there are errors."""

    valid: bool
    errors: tuple[Fault, ...] = ()
    warnings: tuple[SpecWarning, ...] = ()
    resolved_spec: dict[str, Any] | None = None
    layers: tuple[LayerRow, ...] = ()
    num_parameters: int | None = None
    flops_per_sample: int | None = None
    memory_bytes: Memory | None = None
    estimate: Estimate | None = None


class SpecFaults(ValueError):
    """The spec cannot be read; carries every fault found."""

    def __init__(self, faults: Sequence[Fault], *, at: tuple[int, int] | None = None) -> None:
        """`at` is the line and the column, both from 0, where reading had to stop."""
        super().__init__("; ".join(f"{fault.pointer or '/'}: {fault.detail}" for fault in faults))
        self.faults = tuple(faults)
        self.at = at
