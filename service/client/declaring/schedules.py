"""From a learning rate's schedule to the `lr_scheduler` part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from service.client.declaring.arguments import as_written, declared
from service.client.declaring.objects import is_torchs, name_of, refuse
from service.spec.catalog import load

CYCLING = ("OneCycleLR", "CyclicLR")
"""Schedules that set learning rate and momentum themselves, whatever the optimizer was given."""


def schedule_of(schedule: Any) -> dict[str, Any]:
    """The part, without `interval` and `monitor`, which only the loop around it knows. Raises CannotDeclare."""
    cycling = [each for each in _every(schedule) if name_of(each) in CYCLING]
    if len(cycling) > 1:
        refuse("lr_scheduler", schedule, "joins schedules that overwrite each other's numbers", "Say it yourself: lr_scheduler={...}.")
    return _said(schedule, "lr_scheduler")


def cycles(schedule: Any) -> bool:
    """Whether it has overwritten the optimizer's learning rate and momentum."""
    return any(name_of(each) in CYCLING for each in _every(schedule))


def _every(schedule: Any) -> Iterator[Any]:
    yield schedule
    for inner in getattr(schedule, "_schedulers", ()):
        yield from _every(inner)


def _said(schedule: Any, place: str) -> dict[str, Any]:
    name = name_of(schedule)
    if not is_torchs(schedule, "torch.optim") or name not in load()["schedulers"]:
        cure = f"A spec can say {', '.join(load()['schedulers'])}; a function of your own cannot be said."
        refuse(place, schedule, "is no schedule that a spec can say", cure)
    if name == "CyclicLR" and schedule._scale_fn_custom is not None:  # noqa: SLF001  # torch keeps it nowhere else
        refuse(place, schedule, "scales by a function of your own", "Leave scale_fn out: mode says how.")
    args, readers = load()["schedulers"][name]["args"], _READERS.get(name, {})
    if "schedulers" in args:
        inner = schedule._schedulers  # noqa: SLF001  # torch keeps them nowhere else
        said: dict[str, Any] = {"type": name, "schedulers": [_said(each, f"{place}.schedulers.{at}") for at, each in enumerate(inner)]}
        return said | ({"milestones": list(schedule._milestones)} if "milestones" in args else {})  # noqa: SLF001  # as above

    def read(argument: str) -> Any:
        if argument in readers:
            return readers[argument](schedule)
        return args[argument]["default"] if args[argument].get("ours") else getattr(schedule, argument)

    return declared("schedulers", schedule, place, read)


def _of_groups(values: Sequence[Any]) -> Any:
    """A number for each of the optimizer's groups, or the one that all of them have."""
    return values[0] if len(set(values)) == 1 else list(values)


def _momentum(name: str) -> Callable[[Any], Any]:
    """What is cycled, from the optimizer's first group; the default where nothing is."""
    return lambda schedule: (
        schedule.optimizer.param_groups[0][name]
        if schedule.cycle_momentum
        else load()["schedulers"][name_of(schedule)]["args"][name]["default"]
    )


def _share(schedule: Any) -> float:
    total, end = schedule.total_steps, schedule._schedule_phases[0]["end_step"]  # noqa: SLF001  # torch keeps it nowhere else
    return as_written((end + 1) / total, lambda tried: float(tried * total) - 1 == end)


def _quotient(above: str, below: str) -> Callable[[Any], float]:
    """The number that torch has divided by."""

    def read(schedule: Any) -> float:
        group = schedule.optimizer.param_groups[0]
        return as_written(group[above] / group[below], lambda tried: tried != 0 and group[above] / tried == group[below])

    return read


def _climb(schedule: Any) -> int:
    steps: int = round(schedule.total_size * schedule.step_ratio)
    return steps


def _fall(schedule: Any) -> int | None:
    """As long as the climb, where it is not given."""
    fall = round(schedule.total_size) - _climb(schedule)
    return None if fall == _climb(schedule) else fall


_READERS: dict[str, dict[str, Callable[[Any], Any]]] = {
    "MultiStepLR": {"milestones": lambda schedule: sorted(schedule.milestones.elements())},
    "ReduceLROnPlateau": {"min_lr": lambda schedule: _of_groups(schedule.min_lrs)},
    "CyclicLR": {
        "base_lr": lambda schedule: _of_groups(schedule.base_lrs),
        "max_lr": lambda schedule: _of_groups(schedule.max_lrs),
        "step_size_up": _climb,
        "step_size_down": _fall,
        "base_momentum": _momentum("base_momentum"),
        "max_momentum": _momentum("max_momentum"),
    },
    "OneCycleLR": {
        "max_lr": lambda schedule: _of_groups([group["max_lr"] for group in schedule.optimizer.param_groups]),
        "pct_start": _share,
        "anneal_strategy": lambda schedule: schedule._anneal_func_type,  # noqa: SLF001  # torch keeps it nowhere else
        "base_momentum": _momentum("base_momentum"),
        "max_momentum": _momentum("max_momentum"),
        "div_factor": _quotient("max_lr", "initial_lr"),
        "final_div_factor": _quotient("initial_lr", "min_lr"),
        "three_phase": lambda schedule: len(schedule._schedule_phases) == 3,  # noqa: SLF001  # torch keeps it nowhere else
    },
}
"""Where torch's attribute is not the argument's value under the argument's name."""
