"""docs/spec.md: every key of a job spec, from the models that check it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from service.reference.markdown import block, code, page, table
from service.reference.types import Schema, Words, default
from service.spec import dataset, export, model, notify, training
from service.spec.catalog import load
from service.spec.job import JobSpec

EXAMPLES = Path(model.__file__).parent / "examples"
CATALOG_PAGES = {
    "datasets": "data set",
    "transforms": "transform",
    "batch_transforms": "batch transform",
    "layers": "layer",
    "models": "torchvision classifier",
    "losses": "loss",
    "optimizers": "optimizer",
    "schedulers": "schedule",
    "metrics": "metric",
}
"""Groups of the catalog, each with what one of it is called."""
_HERE = {
    "DataLoader": "dataloader",
    "WeightedRandomSampler": "sampler",
    "Node": "graph",
    "ParameterGroup": "parameter-groups",
    "Training": "training",
    "EarlyStopping": "early-stopping",
    "Checkpoint": "checkpoint",
    "Evaluation": "evaluation",
    "Resources": "resources",
    "Notify": "notify",
}
"""Records that have a heading on this page."""
_HEAD = ("key", "type and range", "default", "what")


def spec_page() -> str:
    """The page."""
    return page(
        "# Spec reference",
        "Every key of a job spec. `make reference` writes this page from the models that check a spec, so it says what the service does.",
        "A spec is YAML 1.2 or JSON. Five keys are required: `dataset`, `model`, `loss`, `optimizer`, `epochs`. Names and arguments are torch's own. "
        "`type` says which class; a bare string is short for `{type: string}`. A key that is not known is refused, and the closest one that is known is named.",
        "What can stand for `type` has pages of its own: "
        + ", ".join(f"[{name.replace('_', ' ')}](spec/{name}.md)" for name in CATALOG_PAGES)
        + ". "
        "What torch has and a spec cannot say, with a reason each, stands in [left_out.py](../worker/catalog/left_out.py). "
        "`GET /v1/schema/job.json` is the same as a JSON Schema, by which editors check and complete; `GET /v1/catalog` is the same for programs.",
        "## The whole spec",
        keys(JobSpec),
        _example("mnist-cnn"),
        *_dataset(),
        *_dataloader(),
        *_model(),
        *_loss_and_optimizer(),
        *_training(),
    )


def keys(record: type[BaseModel], *, only: Iterable[str] | None = None, hidden: Iterable[str] = ("type",)) -> str:
    """A table of a record's keys."""
    schema = record.model_json_schema()
    schema = schema["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema  # one that may stand inside itself
    named = [name for name in schema["properties"] if name not in hidden and (only is None or name in only)]
    required = schema.get("required", ())
    return table(_HEAD, [_key(name, schema["properties"][name], is_required=name in required) for name in named])


def _key(name: str, says: Schema, *, is_required: bool) -> tuple[str, str, str, str]:
    what = says.get("description") or next((each["description"] for each in says.get("anyOf", ()) if "description" in each), "")
    shown = default(says, is_required=is_required)
    if "$ref" in says or (isinstance(says.get("default"), dict) and len(says["default"]) > 1):
        shown = "as below" if not is_required else shown
    return code(name), Words(link).of(says), shown, what


def link(names: tuple[str, ...]) -> str | None:
    """The place where a union or a record is described."""
    if set(names) >= {"Sequential", "torchvision"}:
        return "[model](#model)"
    for group, one in CATALOG_PAGES.items():
        if set(names) >= set(load()[group]):
            return f"[{one}](spec/{group}.md)"
    if set(names) == {"Pt2", "Onnx"} or set(names) == {"pt2", "onnx"}:
        return "[format](#export)"
    (name, *others) = names
    if others or name not in _HERE:
        return None
    return f"[{name}](#{_HERE[name]})"


def _dataset() -> Iterable[str]:
    yield "## dataset"
    yield (
        "`type` is one of the [data sets](spec/datasets.md), each with arguments of its own: torchvision's names, `Digits` and `FakeData`, "
        "which need no files, `Upload` for data that you uploaded, and `ImageFolder`, `Tensors` and `Table` for files of the operator's. "
        "These keys belong to all of them:"
    )
    yield keys(dataset.Dataset)
    yield _example("digits-augmented", "dataset")


def _dataloader() -> Iterable[str]:
    yield "## dataloader"
    yield _told(training.DataLoader)
    yield keys(training.DataLoader)
    yield "### sampler"
    yield _told(training.WeightedRandomSampler)
    yield keys(training.WeightedRandomSampler)
    yield _example("own-images", "dataloader")


def _model() -> Iterable[str]:
    yield "## model"
    yield (
        "`Sequential`, `Graph`, `torchvision`, `Module` or `Job`. Inside the first two stand [layers](spec/layers.md), and what joins layers: "
        "`Sequential`, `Residual`, `Concat`, `Parallel`, `Repeat`, `Graph`. "
        f"A model has at most {model.MAX_LAYERS} layers, and they stand at most {model.MAX_DEPTH} deep inside each other. "
        "`in_features`, `in_channels` and `num_features` may be left out: they follow from the shapes."
    )
    for composite in model.COMPOSITES:
        yield f"### {composite.__name__}"
        yield _told(composite)
        yield keys(composite)
    yield "Each of a graph's `nodes`:"
    yield keys(model.Node, hidden=())
    yield _example("digits-residual", "model")
    yield _example("digits-unet", "model")
    for name, record, example in (
        ("torchvision", model.Torchvision, "fake-resnet18"),
        ("Module", model.Module, "digits-custom-module"),
        ("Job", model.FromJob, None),
    ):
        yield f"### {name}"
        yield _told(record)
        yield keys(record, hidden=("type", "model") if record is model.FromJob else ("type",))
        yield _example(example, "model") if example else ""


def _loss_and_optimizer() -> Iterable[str]:
    yield "## loss"
    yield "One of the [losses](spec/losses.md), with its arguments."
    yield _example("digits-one-hot", "loss")
    yield "## optimizer"
    yield "One of the [optimizers](spec/optimizers.md), with its arguments, and:"
    yield keys(training.Optimizer)
    yield "### Parameter groups"
    yield _told(training.ParameterGroup) + " Besides `match`, a group takes the optimizer's own arguments."
    yield keys(training.ParameterGroup)
    yield _example("digits-attention", "optimizer")
    yield "## lr_scheduler"
    yield (
        "One of the [schedules](spec/schedulers.md), with its arguments and `interval`: `step` or `epoch`. Lengths that follow from the training, "
        "as OneCycleLR's `total_steps`, may be left out."
    )
    yield _example("digits-warmup", "lr_scheduler")


def _training() -> Iterable[str]:
    for heading, record, example in (
        ("training", training.Training, "digits-average"),
        ("### early stopping", training.EarlyStopping, None),
        ("checkpoint", training.Checkpoint, "digits-cnn"),
        ("evaluation", training.Evaluation, "digits-export"),
    ):
        yield heading if heading.startswith("#") else f"## {heading}"
        yield _told(record)
        yield keys(record)
        yield _example(example, heading) if example else ""
    yield "## export"
    yield (
        "`pt2`, `onnx`, or both. Each file is run beside the trained model before the job ends. "
        + _told(export.Pt2)
        + " "
        + _told(export.Onnx)
    )
    yield keys(export.Onnx, only=("preprocessing", "tolerance", "opset")).replace(
        "The version of ONNX's", "onnx only: the version of ONNX's"
    )
    yield _example("digits-export", "export")
    yield "## resources"
    yield _told(training.Resources)
    yield keys(training.Resources)
    yield "## notify"
    yield _told(notify.Notify) + " [Be told](howto/notify.md) has a receiver that checks the signature."
    yield keys(notify.Notify)


def _told(record: type[Any]) -> str:
    """What a record's docstring says, in one paragraph."""
    return " ".join((record.__doc__ or "").split())


def _example(name: str, key: str | None = None) -> str:
    """An example spec, or one key of it, as it was written. Raises LookupError where it has none."""
    text = (EXAMPLES / f"{name}.yaml").read_text()
    said = (
        f"From the example [{name}](../service/spec/examples/{name}.yaml):"
        if key
        else f"For example [{name}](../service/spec/examples/{name}.yaml):"
    )
    if key is None:
        return said + "\n\n" + block("yaml", re.sub(r"\A(#.*\n)+", "", text))
    found = re.search(rf"^{key}:.*\n(?:[ \t-].*\n|\n)*", text, flags=re.MULTILINE)
    if found is None:
        raise LookupError(f"example {name} has no {key}")
    return f"{said}\n\n<!-- part of: {name} -->\n" + block("yaml", found[0])
