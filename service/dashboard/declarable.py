"""What a spec can declare, told for people: each thing with its arguments in words and a piece of YAML that is right as it stands. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from textwrap import dedent
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic_core import PydanticUndefined

from service.dashboard.highlighting import as_yaml
from service.spec import export, model, training
from service.spec.catalog import load


@dataclass(frozen=True, kw_only=True)
class Argument:
    """One argument; `default` is None where it has to be given."""

    name: str
    kind: str
    default: str | None
    help: str

    @property
    def is_needed(self) -> bool:
        """Whether a spec has to say it."""
        return self.default is None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing that can be declared. `facts` are what else is known of it, by what it is called."""

    group: str
    name: str
    help: str
    arguments: Sequence[Argument]
    snippet: str
    facts: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Things of one kind, and where in a spec they stand."""

    name: str
    title: str
    place: str
    entries: Sequence[Entry]


TITLES = {
    "layers": ("Layers", "in model.layers"),
    "composites": ("Joining layers", "among layers, or as the model itself"),
    "models": ("Whole models", "as model"),
    "losses": ("Losses", "as loss"),
    "optimizers": ("Optimizers", "as optimizer"),
    "schedulers": ("Learning rate schedules", "as lr_scheduler"),
    "datasets": ("Data sets", "as dataset"),
    "transforms": ("Transforms", "in dataset.transforms or dataset.train_transforms"),
    "batch_transforms": ("Batch transforms", "in dataset.batch_transforms"),
    "metrics": ("Metrics", "in evaluation.metrics"),
    "exports": ("Exports", "in export"),
    "parts": ("The rest of a spec", "by their own keys; each may be left out"),
}
_COMPOSITES: Sequence[type[BaseModel]] = (model.Sequential, model.Residual, model.Concat, model.Parallel, model.Repeat, model.Graph)
_PARTS: Mapping[str, type[BaseModel]] = {
    "dataloader": training.DataLoader,
    "training": training.Training,
    "early_stopping": training.EarlyStopping,
    "checkpoint": training.Checkpoint,
    "evaluation": training.Evaluation,
    "resources": training.Resources,
    "sampler": training.WeightedRandomSampler,
}
_LAYERS = {
    "layers": "list of layers",
    "shortcut": "list of layers, or null",
    "branches": "list of lists of layers",
    "nodes": "list of {name, layer, inputs}",
}


@cache
def groups() -> Sequence[Group]:
    """Everything, by kind."""
    made = {
        "composites": [_of_record("composites", each.__name__, each, _composed(each.__name__)) for each in _COMPOSITES],
        "models": [*(_torchvision(name, entry) for name, entry in load()["models"].items()), *_other_models()],
        "exports": [_exported("pt2", export.Pt2), _exported("onnx", export.Onnx)],
        "parts": [_of_record("parts", name, record, _part(name)) for name, record in _PARTS.items()],
    }
    return [
        Group(name=name, title=title, place=place, entries=made[name] if name in made else _of_catalog(name))
        for name, (title, place) in TITLES.items()
    ]


@cache
def by_name() -> Mapping[tuple[str, str], Entry]:
    """Everything, by its group and name."""
    return {(entry.group, entry.name): entry for group in groups() for entry in group.entries}


def _of_catalog(group: str) -> list[Entry]:
    found = []
    for name, entry in load()[group].items():
        arguments = [
            Argument(name=argument, kind=in_words(says), default=_default(says), help=says["help"])
            for argument, says in entry["args"].items()
        ]
        given = {argument: _example(group, name, argument) for argument, says in entry["args"].items() if _default(says) is None}
        found.append(
            Entry(
                group=group,
                name=name,
                help=entry["help"],
                arguments=arguments,
                snippet=_snippet(group, name, given),
                facts=_facts(group, entry),
            )
        )
    return found


def _default(says: Mapping[str, Any]) -> str | None:
    if says.get("infer"):
        return "inferred"
    return plain(says["default"]) if "default" in says else None


def plain(value: Any) -> str:
    """A value as YAML writes it."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case list() | tuple():
            return f"[{', '.join(map(plain, value))}]"
        case dict():
            return f"{{{', '.join(f'{name}: {plain(each)}' for name, each in value.items())}}}"
        case _:
            return str(value)


def in_words(says: Mapping[str, Any]) -> str:
    """An argument's type and range, as the catalog says it, for people."""
    one = _one(says)
    match says.get("many"):
        case None:
            pass
        case "any":
            one += ", or a list"
        case lengths:
            one += f", or a list of {' or '.join(map(str, lengths))}"
    if "words" in says:
        one += f", or {' or '.join(says['words'])}"
    return f"{one}, or null" if says.get("nullable") else one


def _one(says: Mapping[str, Any]) -> str:
    kind = says["type"]
    if kind == "choice":
        return " | ".join(map(plain, says["choices"]))
    if kind == "declared":
        return f"list of {says['group'].replace('_', ' ')}"
    words = {"int": "int", "float": "float", "bool": "true | false", "str": "text", "ints": "list of ints", "floats": "list of floats"}[
        kind
    ]
    if "length" in says:
        words = words.replace("list of", f"list of {says['length']}")
    return f"{words}{_range(says.get('minimum'), says.get('above'), says.get('maximum'), says.get('below'))}"


def _range(least: Any, above: Any, most: Any, below: Any) -> str:
    # a range may say both: 0 is allowed by its kind, and not by this argument
    low = f" > {plain(above)}" if above is not None else f" ≥ {plain(least)}" if least is not None else ""
    high = f" < {plain(below)}" if below is not None else f" ≤ {plain(most)}" if most is not None else ""
    return low + ("," if low and high else "") + high


_EXAMPLES: dict[str, Any] = {
    "out_features": 10,
    "out_channels": 32,
    "kernel_size": 3,
    "output_size": 1,
    "hidden_size": 128,
    "num_embeddings": 1000,
    "embedding_dim": 64,
    "num_groups": 4,
    "groups": 4,
    "num_heads": 4,
    "nhead": 4,
    "padding": 1,
    "value": 0.0,
    "threshold": 0.1,
    "norm_type": 2.0,
    "size": 64,
    "upscale_factor": 2,
    "downscale_factor": 2,
    "dim": 1,
    "dims": [1, 0],
    "unflattened_size": [8, 8],
    "gamma": 0.9,
    "milestones": [10],
    "step_size": 10,
    "T_0": 5,
    "base_lr": 0.0001,
    "max_lr": 0.01,
    "schedulers": [{"type": "LinearLR"}, {"type": "ExponentialLR", "gamma": 0.9}],
    "quality": 75,
    "mean": [0.5],
    "std": [0.5],
    "sharpness_factor": 2.0,
    "degrees": 10,
    "bits": 4,
    "min_size": 32,
    "max_size": 64,
    "target_size": [64, 64],
    "dtype": "float32",
    "split": "balanced",
    "name": "flowers",
    "root": "flowers",
    "file": "wine.csv",
    "p": 2.0,
    "min_recall": 0.9,
    "min_precision": 0.9,
    "min_specificity": 0.9,
    "min_sensitivity": 0.9,
}
_OF_ONE: dict[tuple[str, str, str], Any] = {
    ("layers", "LocalResponseNorm", "size"): 5,
    ("layers", "Fold", "output_size"): [28, 28],
    ("transforms", "Compose", "transforms"): [{"type": "Resize", "size": 72}, {"type": "CenterCrop", "size": 64}],
    ("transforms", "RandomApply", "transforms"): [{"type": "ColorJitter", "brightness": 0.2}],
    ("transforms", "RandomChoice", "transforms"): ["RandomHorizontalFlip", "RandomVerticalFlip"],
    ("transforms", "RandomOrder", "transforms"): ["RandomHorizontalFlip", "RandomVerticalFlip"],
    ("batch_transforms", "RandomChoice", "transforms"): ["MixUp", "CutMix"],
    ("transforms", "RandomSolarize", "threshold"): 0.5,
    ("datasets", "Tensors", "file"): "digits.npz",
}


def _example(group: str, name: str, argument: str) -> Any:
    return _OF_ONE.get((group, name, argument), _EXAMPLES.get(argument))


_KEYS = {"losses": "loss", "schedulers": "lr_scheduler", "datasets": "dataset", "optimizers": "optimizer"}


def _snippet(group: str, name: str, given: Mapping[str, Any]) -> str:
    key = _KEYS.get(group)
    if group == "optimizers":
        given = {**given, "lr": load()[group][name]["args"]["lr"]["default"]}
    if group == "metrics":
        return as_yaml({"evaluation": {"metrics": [{"type": name, **given} if given else name]}})
    if not given:
        return f"{key}: {name}\n" if key else f"- {name}\n"
    return as_yaml({key: {"type": name, **given}}) if key else _item({"type": name, **given})


def _item(declared: Mapping[str, Any]) -> str:
    """One of a list."""
    return dedent(as_yaml([declared]))


def _facts(group: str, entry: Mapping[str, Any]) -> Mapping[str, str]:
    if group == "metrics":
        better = {"max": "more is better", "min": "less is better"}.get(entry["better"], "neither more nor less is better")
        return {"task": entry["task"], "values": "one number" if entry["single"] else "several numbers", "better": better}
    known = entry.get("facts")
    if known is None:
        return {}
    shape = " \N{MULTIPLICATION SIGN} ".join(map(str, known["shape"]))
    return {"sample": shape, "classes": f"{known['num_classes']:,}", "training": f"{known['train']:,}", "test": f"{known['test']:,}"}


def _torchvision(name: str, entry: Mapping[str, Any]) -> Entry:
    told = _of_record("models", name, model.Torchvision, as_yaml({"model": {"type": "torchvision", "name": name, "num_classes": 10}}))
    weights = ", ".join(entry["weights"]) or "none"
    return Entry(
        group="models",
        name=name,
        help="A classifier of torchvision.models.",
        arguments=[each for each in told.arguments if each.name != "name"],
        snippet=told.snippet,
        facts={"weights": weights},
    )


_MODULE = """model:
  type: Module
  class_name: Net
  code: |
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(64, 10)

        def forward(self, x):
            return self.head(x.flatten(1))
"""


def _other_models() -> list[Entry]:
    earlier = as_yaml({"model": {"type": "Job", "job_id": "job_0123456789abcdef01234", "checkpoint": "best"}})
    return [_of_record("models", "Module", model.Module, _MODULE), _of_record("models", "Job", model.FromJob, earlier)]


def _exported(name: str, record: type[BaseModel]) -> Entry:
    return _of_record("exports", name, record, as_yaml({"export": [name]}))


def _composed(name: str) -> str:
    conv = {"type": "Conv2d", "out_channels": 16, "kernel_size": 3, "padding": 1}
    point = {"type": "Conv2d", "out_channels": 16, "kernel_size": 1}
    inside: dict[str, Any] = {
        "Sequential": {"layers": [conv, "ReLU"]},
        "Residual": {"layers": [conv, "ReLU"], "shortcut": [point]},
        "Concat": {"dim": 1, "branches": [[conv], [point]]},
        "Parallel": {"merge": "add", "branches": [[conv], [point]]},
        "Repeat": {"times": 3, "layers": [conv, "ReLU"]},
        "Graph": {
            "nodes": [
                {"name": "conv", "layer": conv},
                {"name": "point", "layer": point, "inputs": "input"},
                {"name": "sum", "layer": "Add", "inputs": ["conv", "point"]},
            ]
        },
    }
    return _item({"type": name, **inside[name]})


def _part(name: str) -> str:
    stopping = {"monitor": "val_loss", "mode": "min", "patience": 3}
    said: dict[str, Any] = {
        "dataloader": {"batch_size": 64, "shuffle": True},
        "training": {"clip_grad_norm": 1.0},
        "checkpoint": {"monitor": "val_accuracy", "mode": "max"},
        "evaluation": {"metrics": ["Accuracy", "ConfusionMatrix"]},
        "resources": {"device": "auto", "timeout_seconds": 3600},
    }
    if name == "early_stopping":
        return as_yaml({"training": {"early_stopping": stopping}})
    if name == "sampler":
        return as_yaml({"dataloader": {"sampler": "WeightedRandomSampler"}})
    return as_yaml({name: said[name]})


def _of_record(group: str, name: str, record: type[BaseModel], snippet: str) -> Entry:
    arguments = []
    for argument, about in record.model_fields.items():
        if argument == "type":
            continue
        needed = about.is_required()
        default = about.get_default(call_default_factory=True) if not needed and about.default_factory is None else {}
        if default is PydanticUndefined:
            default = None
        kind = _LAYERS.get(argument) if group == "composites" else None
        arguments.append(
            Argument(
                name=argument,
                kind=kind or _of_schema(TypeAdapter(about.rebuild_annotation()).json_schema()),
                default=None if needed else plain(default.model_dump() if isinstance(default, BaseModel) else default),
                help=about.description or "",
            )
        )
    return Entry(
        group=group, name=name, help=(record.__doc__ or "").strip().partition("\n\n")[0], arguments=arguments, snippet=snippet, facts={}
    )


def _of_schema(schema: Mapping[str, Any]) -> str:
    """A JSON Schema in a few words; what is declared elsewhere is named by its key alone."""
    match schema:
        case {"enum": [*choices]}:
            return " | ".join(map(plain, choices)) if len(choices) < 12 else "a name"
        case {"const": only}:
            return plain(only)
        case {"anyOf": [*several]}:
            return ", or ".join(dict.fromkeys(map(_of_schema, several)))
        case {"type": "array", "items": items}:
            return f"list of {_of_schema(items)}"
        case {"type": "integer" | "number" as kind}:
            word = "int" if kind == "integer" else "float"
            return word + _range(
                schema.get("minimum"), schema.get("exclusiveMinimum"), schema.get("maximum"), schema.get("exclusiveMaximum")
            )
        case {"type": "boolean"}:
            return "true | false"
        case {"type": "string"}:
            return "text"
        case {"type": "null"}:
            return "null"
        case _:
            return "an object"
