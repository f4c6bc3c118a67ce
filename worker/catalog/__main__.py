"""Writes `service/spec/catalog.json` from the installed torch, torchvision and torchmetrics: `python -m worker.catalog [--check]`.

Names and defaults come from their signatures, so drift is seen; kinds, ranges and help come from the overlays beside this file.
"""

from __future__ import annotations

import argparse
import enum
import inspect
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

import worker.training.vision  # noqa: F401  # before torchvision and torchmetrics
from worker.catalog.datasets import DATASETS
from worker.catalog.layers import LAYERS, OURS
from worker.catalog.left_out import ARGUMENTS, OF_CLASS
from worker.catalog.metrics import METRICS, OF_MANY_NUMBERS
from worker.catalog.training import LOSSES, OPTIMIZERS, SCHEDULERS
from worker.catalog.transforms import BATCH_TRANSFORMS, TRANSFORMS

import torchmetrics.classification  # isort: skip
import torchmetrics.regression  # isort: skip
from torchvision import models  # isort: skip
from torchvision.transforms import v2  # isort: skip

CATALOG = Path(__file__).parent.parent.parent / "service" / "spec" / "catalog.json"
OVERLAYS: dict[str, tuple[ModuleType, dict[str, dict[str, Any]]]] = {
    "layers": (torch.nn, LAYERS),
    "losses": (torch.nn, LOSSES),
    "optimizers": (torch.optim, OPTIMIZERS),
    "schedulers": (torch.optim.lr_scheduler, SCHEDULERS),
    "transforms": (v2, TRANSFORMS),
    "batch_transforms": (v2, BATCH_TRANSFORMS),
}


def generate() -> dict[str, Any]:
    """The whole catalog. Raises LookupError where a signature and an overlay disagree."""
    groups: dict[str, Any] = {
        group: {name: _entry(getattr(home, name), name, overlay[name]) for name in sorted(overlay)}
        for group, (home, overlay) in OVERLAYS.items()
    }
    groups["layers"] |= OURS
    groups["datasets"] = DATASETS
    groups["metrics"] = {name: _metric(name, METRICS[name]) for name in sorted(METRICS)}
    groups["models"] = {name: _model(name) for name in models.list_models(module=models)}
    return {"torch": torch.__version__.partition("+")[0], **groups}


def _metric(name: str, overlay: dict[str, Any]) -> dict[str, Any]:
    home = torchmetrics.classification if overlay["task"] == "classification" else torchmetrics.regression
    rest = {key: value for key, value in overlay.items() if key != "task"}
    entry = _entry(getattr(home, name), name, rest, maker="__new__" if home is torchmetrics.classification else "__init__")
    measured = getattr(home, f"Multiclass{name}" if overlay["task"] == "classification" else name)
    better = {True: "max", False: "min", None: None}[measured.higher_is_better]
    return entry | {"task": overlay["task"], "single": name not in OF_MANY_NUMBERS, "better": better}


def _model(name: str) -> dict[str, Any]:
    weights = models.get_model_weights(name)
    return {"weights": {each.name: str(each.url).rpartition("/")[2] for each in weights}}


def _entry(named: type, name: str, overlay: dict[str, Any], *, maker: str = "__init__") -> dict[str, Any]:
    overlay = dict(overlay)
    entry: dict[str, Any] = {"help": overlay.pop("help"), "args": {}}
    signature = inspect.signature(getattr(named, maker))
    for parameter in list(signature.parameters.values())[1:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name not in overlay:
            if parameter.name in ARGUMENTS or (name, parameter.name) in OF_CLASS:
                continue
            raise LookupError(f"{name} has a new argument {parameter.name!r}: describe it in the overlay or leave it out by name")
        entry["args"][parameter.name] = _argument(overlay.pop(parameter.name), parameter.default)
    # what stands in the overlay only: ours, or hidden by *args in torch's signature
    for argument, kind in overlay.items():
        if "default" not in kind and not kind.get("infer") and not _takes_anything(signature):
            raise LookupError(f"{name} has no argument {argument!r} in this torch")
        entry["args"][argument] = _argument(kind, inspect.Parameter.empty)
    return entry


def _takes_anything(signature: inspect.Signature) -> bool:
    return any(parameter.kind is parameter.VAR_POSITIONAL for parameter in signature.parameters.values())


def _argument(kind: dict[str, Any], default: Any) -> dict[str, Any]:
    argument = dict(kind)
    if argument.get("infer"):
        return argument | {"default": None}
    if default is not inspect.Parameter.empty and "default" not in argument:
        argument["default"] = _plain(default)
    return argument


def _plain(default: Any) -> Any:
    """A default as JSON has it."""
    match default:
        case enum.Enum():
            return default.value
        case torch.dtype():
            return str(default).removeprefix("torch.")
        case tuple():
            return [_plain(each) for each in default]
    return default


def main() -> int:
    """Write the catalog, or with --check say whether the committed one is stale (exit 1)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the committed file is stale")
    text = json.dumps(generate(), indent=1) + "\n"
    if not parser.parse_args().check:
        CATALOG.write_text(text)
        return 0
    if CATALOG.read_text() != text:
        print("service/spec/catalog.json is stale: run `make catalog`", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
