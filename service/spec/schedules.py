"""How long schedules are: a length that is left out is that of the training, or of the schedule's stretch in a SequentialLR."""

from __future__ import annotations

from collections.abc import Iterator

from service.spec.catalog import Declared
from service.spec.fixes import removing
from service.spec.verdict import Fault

_LENGTHS = {
    "OneCycleLR": "total_steps",
    "CosineAnnealingLR": "T_max",
    **dict.fromkeys(("LinearLR", "ConstantLR", "PolynomialLR"), "total_iters"),
}
_UNKNOWN = 1000
"""Filled in where the training's length cannot be read, which is a fault of its own."""


def timed(scheduler: Declared, steps: int | None) -> tuple[Declared, list[Fault]]:
    """The schedule with its lengths filled in, inner intervals as the outer one's, and what is wrong. `steps` are its own over the training."""
    return _timed(scheduler, steps, steps, "/lr_scheduler")


def _timed(scheduler: Declared, length: int | None, taken: int | None, pointer: str) -> tuple[Declared, list[Fault]]:
    filled, found = _filled(scheduler, length, taken, pointer)
    inner: list[Declared] = []
    for at, (each, its_length, its_taken) in enumerate(_stretches(filled, length)):
        place = f"{pointer}/schedulers/{at}"
        if fault := _misplaced(each, filled, at, place):
            return scheduler, [*found, fault]
        one, faults = _timed(each.model_copy(update={"interval": filled.arguments()["interval"]}), its_length, its_taken, place)
        inner.append(one)
        found += faults
    return filled.model_copy(update={"schedulers": tuple(inner)}) if inner else filled, found


def _stretches(scheduler: Declared, steps: int | None) -> Iterator[tuple[Declared, int | None, int | None]]:
    """Each inner schedule, how long its stretch is, and how many steps of its own it takes: one less where another takes over."""
    inner = scheduler.arguments().get("schedulers", ())
    if scheduler.type != "SequentialLR":
        yield from ((each, steps, steps) for each in inner)
        return
    bounds = (0, *scheduler.arguments()["milestones"][: len(inner) - 1])
    for each, start, end in zip(inner, bounds, (*bounds[1:], steps), strict=False):
        length = None if end is None else end - start
        yield each, length, length if end == steps or length is None else length - 1


def _filled(scheduler: Declared, length: int | None, taken: int | None, pointer: str) -> tuple[Declared, list[Fault]]:
    name = _LENGTHS.get(scheduler.type)
    given = scheduler.arguments()[name] if name else None
    if name and given is None and length is not None and length < 1:
        detail = f"{scheduler.type} never begins: {name} is left out, and the milestones leave {length} steps of the schedule."
        return scheduler, [
            Fault(pointer=pointer, code="too_short", detail=detail, suggestion=f"Give earlier milestones, more epochs, or {name}.")
        ]
    if name and given is None:
        return scheduler.model_copy(update={name: _UNKNOWN if length is None else length}), []
    if scheduler.type == "OneCycleLR" and taken is not None and given is not None and given < taken:
        detail = f"This training takes {taken} steps of the schedule; total_steps is {given}, and OneCycleLR ends with an error there."
        where, cure = f"{pointer}/total_steps", f"Leave it out, or give {length}."
        return scheduler, [Fault(pointer=where, code="too_short", detail=detail, suggestion=cure, fix=removing(where))]
    return scheduler, []


def _misplaced(inner: Declared, outer: Declared, at: int, pointer: str) -> Fault | None:
    """What torch refuses inside of another schedule, some of it only when its turn comes; and an interval that nobody would heed."""
    if inner.type == "ReduceLROnPlateau":
        detail = f"{inner.type} cannot stand inside {outer.type}: it follows a measured value."
        return Fault(pointer=pointer, code="scheduler", detail=detail, suggestion="Use it alone.")
    if outer.type == "SequentialLR" and at and inner.type in ("SequentialLR", "ChainedScheduler"):
        detail = f"{inner.type} cannot take over inside a SequentialLR: torch raises NotImplementedError at its milestone."
        return Fault(pointer=pointer, code="scheduler", detail=detail, suggestion="Put its schedules into the outer one.")
    interval = outer.arguments()["interval"]
    if "interval" in inner.model_fields_set and inner.arguments()["interval"] != interval:
        detail = f"{outer.type} steps its schedules, every {interval}; an interval of their own would mean nothing."
        where, cure = f"{pointer}/interval", f"Give interval to the {outer.type}."
        return Fault(pointer=where, code="interval", detail=detail, suggestion=cure, fix=removing(where))
    return None
