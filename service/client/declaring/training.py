"""From a loss and an optimizer to the spec's parts."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from service.client.declaring.arguments import declared, plain, short
from service.client.declaring.groups import pattern
from service.client.declaring.objects import is_torchs, name_of, refuse
from service.spec.catalog import load, suggest

Part = dict[str, Any] | str

_FASTER = ("foreach", "fused")
"""Options of optimizers that change no argument: `fused` is said in `training`, `foreach` rounds as the plain loop does."""


def loss_of(loss: Any) -> Part:
    """The `loss` part. Class weights become numbers. Raises CannotDeclare."""
    if not is_torchs(loss, "torch.nn") or name_of(loss) not in load()["losses"]:
        named = getattr(loss, "__name__", name_of(loss))
        near = suggest(named, load()["losses"])
        cure = f"Give nn.{near}()." if near else f"A spec can say {', '.join(load()['losses'])}."
        refuse("loss", loss, f"is {named}, which no spec can say", cure)
    return short(declared("losses", loss, "loss", lambda argument: getattr(loss, argument)))


def optimizer_of(optimizer: Any, model: Any, *, cycles: bool) -> Part:
    """The `optimizer` part; options of some parameters become `groups`. Raises CannotDeclare.

    `model` is None where only its source or name is known; `cycles` says that a schedule has set learning rate and momentum.
    """
    if not is_torchs(optimizer, "torch.optim") or name_of(optimizer) not in load()["optimizers"]:
        cure = f"A spec can say {', '.join(load()['optimizers'])}."
        refuse("optimizer", optimizer, "is none that a spec can say", cure)
    _check_options(optimizer)
    first, *others = [_options(optimizer, group, cycles=cycles) for group in optimizer.param_groups]
    said = declared("optimizers", optimizer, "optimizer", first.__getitem__)
    names = None if model is None else _names(optimizer, model)
    if others:
        said["groups"] = _groups(optimizer, names, model, first, others)
    return short(said)


def is_fused(optimizer: Any) -> bool:
    """Whether the optimizer's fused form was asked for."""
    return any(group.get("fused") for group in optimizer.param_groups)


def _check_options(optimizer: Any) -> None:
    """Refuse what torch's class takes and the catalog has not, unless it is as by default."""
    known = load()["optimizers"][name_of(optimizer)]["args"]
    for option, parameter in inspect.signature(type(optimizer).__init__).parameters.items():
        for group in optimizer.param_groups:
            if option in group and option not in (*known, *_FASTER, "params") and group[option] != parameter.default:
                refuse("optimizer", optimizer, f"has {option}={group[option]!r}, which no spec can say", f"Leave {option} out.")


def _options(optimizer: Any, group: Mapping[str, Any], *, cycles: bool) -> dict[str, Any]:
    """A group's options before any schedule changed them."""
    args = load()["optimizers"][name_of(optimizer)]["args"]
    options = {option: group[option] for option in args}
    if cycles:  # they have put their own numbers there; torch keeps what was given first, which nothing depends on
        options |= {option: optimizer.defaults[option] for option in ("lr", "momentum", "betas") if option in args}
    else:
        options["lr"] = group.get("initial_lr", group["lr"])
    return {option: plain(value, args[option], optimizer, f"optimizer.{option}") for option, value in options.items()}


def _names(optimizer: Any, model: Any) -> list[list[str]]:
    """The names of each group's parameters: together those of the model, each once."""
    known = {id(parameter): name for name, parameter in model.named_parameters()}
    found = [[known.get(id(parameter), "") for parameter in group["params"]] for group in optimizer.param_groups]
    held = {name for names in found for name in names}
    if "" in held:
        refuse("optimizer", optimizer, "holds a parameter that is not the model's", "Make it of model.parameters().")
    if missing := [name for name in known.values() if name not in held]:
        cure = "A Sequential trains all of its parameters: make the optimizer of model.parameters()."
        refuse("optimizer", optimizer, f"leaves out {', '.join(missing[:3])}", cure)
    return found


def _groups(
    optimizer: Any, names: list[list[str]] | None, model: Any, first: Mapping[str, Any], others: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    if names is None:
        cure = "Say it yourself: optimizer={'type': ..., 'groups': [{'match': 'bias', ...}]}."
        refuse("optimizer", optimizer, "has parameter groups, of a model whose parameters are not known here", cure)
    owners = {name: name_of(model.get_submodule(name.rpartition(".")[0])) for group in names for name in group}
    rest, groups = list(owners), []
    for group, options in zip(names[1:], others, strict=True):
        match = pattern(group, {name: owners[name] for name in rest})
        if match is None:
            cure = "Say it yourself: optimizer={'type': ..., 'groups': [{'match': ..., ...}]}, or order the groups otherwise."
            refuse("optimizer", optimizer, f"has a group of {', '.join(group[:3])}, ... that no short pattern finds", cure)
        groups.append({"match": match, **{option: value for option, value in options.items() if value != first[option]}})
        rest = [name for name in rest if name not in group]
    return groups
