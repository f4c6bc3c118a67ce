"""What makes the folder of artifacts one that a model hub takes as it is: README.md, a model card with YAML at its head, and config.json."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from string import Template
from typing import Any

import torch
from ruamel.yaml import YAML

from service.spec.export import Exported
from service.spec.job import JobSpec
from service.spec.model import FromJob, built
from worker.training.evaluation import Shown
from worker.training.rounding import rounding
from worker.training.script import calls
from worker.training.script.loading import loading

_IMAGE = 3
"""Dimensions of an image: channels, height, width."""

_CARD = Template("""\
---
# license: yours to choose, for example apache-2.0
$head---

# $title

$summary

## Scores

$scores

$shown

## Use it

`model.safetensors` beside this page holds the weights. This makes the model again, with torch$vision and safetensors alone:

${fence}python
$snippet$fence

A sample is $sample$transforms
$classes$exports
## How it was trained

$trained

`train.py` is the whole training as plain PyTorch; `resolved_spec.json` the job as it was trained, every default filled in.

| | |
|---|---|
| data | $data, $digest |
| environment | $environment |
| same bits as `train.py` on the CPU | $exact |
""")


def config(spec: JobSpec, *, sample: torch.Tensor, outputs: Sequence[int], classes: Sequence[str]) -> dict[str, Any]:
    """config.json: the architecture as the spec says it, and what goes in and comes out. `sample` and `outputs` are without the batch."""
    normal = next((each.arguments() for each in spec.dataset.transforms if each.type == "Normalize"), None)
    return {
        "library": "pytorch",
        "weights": "model.safetensors",
        "architecture": built(spec.model).model_dump(mode="json"),
        "input_shape": list(sample.shape),
        "input_dtype": _dtype(sample),
        "output_shape": list(outputs),
        "num_classes": spec.dataset.facts.num_classes if spec.dataset.is_classification else None,
        "classes": list(classes) or None,
        "normalisation": None if normal is None else {"mean": list(normal["mean"]), "std": list(normal["std"])},
        "transforms": [each.model_dump(mode="json") for each in spec.dataset.transforms],
        "loss": spec.loss.model_dump(mode="json"),
    }


def card(
    spec: JobSpec,
    *,
    scores: Mapping[str, float],
    sample: torch.Tensor,
    classes: Sequence[str],
    digest: str,
    epochs: int,
    about: Mapping[str, Any],
    exported: Mapping[str, Exported],
    shown: Sequence[Shown],
) -> str:
    """The model card. `scores` are named test_loss, val_accuracy, ...; `epochs` were done; `about` is environment.json's content.

    Of `shown` pictures are shown, and tables named.
    """
    snippet = loading(spec, sample=sample)
    name = " ".join((spec.name or f"{built(spec.model).type} on {spec.dataset.type}").split())
    cpu = f"torch {about['torch']}, Python {about['python']}, {about['threads']} threads of {about['cpu']} ({about['cpu_capability']})"
    different = [
        *rounding(spec.training),
        *about["inexact_because"],
        *([] if about["device"] == "cpu" else [f"trained on {about['device']}"]),
    ]
    parts = {
        "head": _yaml(_head(spec, name, scores, sample)),
        "title": name,
        "summary": f"{_kind(spec)}, {_done(spec, epochs)} by Trainyard.",
        "scores": _scores(scores),
        "shown": "\n\n".join(f"{'!' if path.endswith('.png') else ''}[{title}]({path})" for title, path in shown),
        "vision": ", torchvision" if "torchvision" in snippet else "",
        "fence": "`" * max(3, 1 + max(map(len, re.findall(r"`+", snippet)), default=0)),
        "snippet": snippet,
        "sample": f"a {_dtype(sample)} tensor of {list(sample.shape)}",
        "transforms": _transforms(spec),
        "classes": f"\nThe outputs are for: {', '.join(classes)}.\n" if classes else "",
        "exports": _exports(exported),
        "trained": _trained(spec),
        "data": spec.dataset.type,
        "digest": digest,
        "environment": cpu if about["device_name"] is None else f"{about['device_name']}; {cpu}",
        "exact": "; ".join(["no", *different]) if different else "yes",
    }
    return _CARD.substitute(parts)


def _head(spec: JobSpec, name: str, scores: Mapping[str, float], sample: torch.Tensor) -> dict[str, Any]:
    task = f"{'image' if sample.dim() == _IMAGE else 'tabular'}-classification" if spec.dataset.is_classification else "other"
    splits: dict[str, list[dict[str, Any]]] = {}
    for scored, value in scores.items():
        split, metric = scored.split("_", 1)
        splits.setdefault(split, []).append({"type": metric, "value": value, "name": f"{split} {metric}".replace("_", " ")})
    dataset = spec.dataset.type.lower()
    results = [
        {"task": {"type": task}, "dataset": {"type": dataset, "name": spec.dataset.type, "split": split}, "metrics": measured}
        for split, measured in splits.items()
    ]
    return {
        "library_name": "pytorch",
        "tags": [task, "pytorch", "safetensors", "trainyard"],
        "datasets": [dataset],
        "metrics": sorted({each["type"] for measured in splits.values() for each in measured}),
    } | ({"model-index": [{"name": name, "results": results}]} if results else {})


def _yaml(value: Any) -> str:
    written = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # the library's own switch, untyped
    yaml.dump(value, written)
    return written.getvalue()


def _kind(spec: JobSpec) -> str:
    model = built(spec.model)
    named = getattr(model, "name", None) or getattr(model, "class_name", None)
    return f"A {named or model.type} model" if not spec.dataset.is_classification else f"A classifier ({named or model.type})"


def _done(spec: JobSpec, epochs: int) -> str:
    if isinstance(spec.model, FromJob) and not spec.epochs:
        return f"trained by job {spec.model.job_id} and evaluated on {spec.dataset.type}"
    return f"trained on {spec.dataset.type} for {epochs} epoch{'s' if epochs > 1 else ''}"


def _scores(scores: Mapping[str, float]) -> str:
    if not scores:
        return "The data have no labels: nothing was measured."
    splits = list(dict.fromkeys(name.split("_", 1)[0] for name in scores))
    metrics = list(dict.fromkeys(name.split("_", 1)[1] for name in scores))
    rows = [["", *splits], ["---"] * (len(splits) + 1)]
    rows += [[metric, *(_number(scores.get(f"{split}_{metric}")) for split in splits)] for metric in metrics]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _exports(exported: Mapping[str, Exported]) -> str:
    if not exported:
        return ""
    lines = [
        f"- `{path}`{f', opset {each.opset}' if each.opset else ''}: differs from the model by {each.max_abs_difference:.2g} at most, "
        f"on {each.samples} test samples{'; takes images as bytes, the transforms are in it' if each.preprocessing else ''}"
        for path, each in exported.items()
    ]
    return "\nThe same model as a graph that needs no source; any batch size goes in:\n\n" + "\n".join(lines) + "\n"


def _transforms(spec: JobSpec) -> str:
    if not spec.dataset.transforms:
        return ", as it comes."
    composed = calls.composed(spec.dataset.transforms)
    return f", after these transforms:\n\n```python\nimport torch\nfrom torchvision.transforms import v2\n\ntransform = {composed}\n```"


def _trained(spec: JobSpec) -> str:
    said = [
        f"- loss: `{calls.loss(spec.loss)}`",
        f"- optimizer: `{calls.call(spec.optimizer)}`",
        *([f"- schedule: `{calls.scheduler(spec.lr_scheduler)}`"] if spec.lr_scheduler else []),
        f"- {spec.epochs} epochs in batches of {spec.dataloader.batch_size}, seed {spec.seed}, precision {spec.training.precision}",
    ]
    return "\n".join(said)


def _dtype(sample: torch.Tensor) -> str:
    return str(sample.dtype).removeprefix("torch.")
