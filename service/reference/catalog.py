"""docs/spec/*.md: everything that can stand for `type`, from catalog.json."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import TypeAdapter

from service.reference.markdown import code, folded, page, table
from service.reference.types import Words, default
from service.spec.catalog import annotation, load

Entries = Mapping[str, Mapping[str, Any]]
_KINDS_OF_LAYERS = {
    "Linear": r"Linear|Bilinear",
    "Convolution": r"Conv.*",
    "Pooling": r".*Pool\dd",
    "Normalisation": r".*Norm(\dd)?",
    "Dropout": r".*Dropout(\dd)?",
    "Padding": r".*Pad\dd",
    "Recurrent": r"(RNN|LSTM|GRU)(Cell)?",
    "Attention": r"Transformer.*|MultiheadAttention",
    "Embedding": r"Embedding.*",
    "Shape": r"Flatten|Unflatten|Permute|Fold|Unfold|Pixel.*|Upsampl.*|ChannelShuffle|Identity",
    "Several inputs, inside a Graph": r"Add|Multiply|MatMul|Cat|CosineSimilarity|PairwiseDistance",
    "Activation": r".*",
}


def catalog_pages() -> dict[str, str]:
    """Each group's page by the group's name."""
    return {name: page(*write(load()[name])) for name, write in _PAGES.items()}


def _layers(entries: Entries) -> Iterable[str]:
    yield "# Layers"
    yield (
        "What may stand in `model.layers` ([Sequential](../spec.md#model) and whatever else joins layers). "
        f"Names and arguments are torch.nn's. {_UNFOLD} *inferred*: follows from the shapes; given and wrong is a fault."
    )
    left = dict(entries)
    for heading, pattern in _KINDS_OF_LAYERS.items():
        yield f"## {heading}"
        yield from _entries({name: left.pop(name) for name in list(left) if re.fullmatch(pattern, name)})


def _group(heading: str, said: str) -> Callable[[Entries], Iterable[str]]:
    def write(entries: Entries) -> Iterable[str]:
        yield f"# {heading}"
        yield f"{said} {_UNFOLD}"
        yield from _entries(entries)

    return write


def _datasets(entries: Entries) -> Iterable[str]:
    yield "# Data sets"
    yield (
        "What `dataset.type` can be. torchvision's are read from `TRAINYARD_DATASETS_DIR` in torchvision's layout, else downloaded by torchvision. "
        "The keys of every data set, as `validation_split` and `transforms`, stand in the [spec reference](../spec.md#dataset)."
    )
    known = {name: entry["facts"] for name, entry in entries.items() if "facts" in entry}
    rows = [(code(name), entries[name]["help"], *_facts(facts)) for name, facts in known.items()]
    for name, entry in entries.items():
        for argument, by in entry.get("facts_by", {}).items():
            rows += [(code(f"{{type: {name}, {argument}: {value}}}"), entry["help"], *_facts(facts)) for value, facts in by.items()]
    yield table(("type", "what", "a sample", "classes", "training samples", "test samples"), rows)
    yield "## With arguments"
    yield _UNFOLD
    yield from _entries({name: entry for name, entry in entries.items() if entry["args"]})


def _facts(facts: Mapping[str, Any]) -> tuple[str, ...]:
    shape = " x ".join("any" if size is None else str(size) for size in facts["shape"])
    return shape, *(f"{facts[name]:,}" for name in ("num_classes", "train", "test"))


def _metrics(entries: Entries) -> Iterable[str]:
    yield "# Metrics"
    yield (
        "What may stand in `evaluation.metrics`: torchmetrics' names. One that gives a single number can be watched by `checkpoint.monitor`, "
        f"`early_stopping.monitor` and ReduceLROnPlateau, as `val_` and its name in snake_case. {_UNFOLD}"
    )
    for task, heading in (("classification", "For classes"), ("regression", "For numbers")):
        yield f"## {heading}"
        yield from _entries({name: entry for name, entry in entries.items() if entry["task"] == task}, also=_measured)


def _measured(entry: Mapping[str, Any]) -> str:
    better = {"max": "more is better", "min": "less is better", None: "neither more nor less is better"}[entry["better"]]
    return f"One number; {better}." if entry["single"] else "More than one number: a file beside the model, and not to be monitored."


def _models(entries: Entries) -> Iterable[str]:
    yield "# Models of torchvision"
    yield (
        "What `{type: torchvision, name: ...}` can build: torchvision's classifiers, with the weights that are published of each. "
        "The keys stand in the [spec reference](../spec.md#torchvision)."
    )
    rows = [(code(name), ", ".join(code(weights) for weights in entry["weights"]) or "none") for name, entry in entries.items()]
    yield table(("name", "weights"), rows)


def _entries(entries: Entries, *, also: Callable[[Mapping[str, Any]], str] = lambda _: "") -> Iterable[str]:
    for name, entry in entries.items():
        rows = [_argument(argument, says) for argument, says in entry["args"].items()]
        arguments = table(("argument", "type and range", "default", "what"), rows) if rows else "No arguments."
        yield folded(name.lower(), f"<code>{name}</code> {_escaped(entry['help'])}", page(also(entry), arguments).strip())


def _argument(name: str, says: Mapping[str, Any]) -> tuple[str, str, str, str]:
    if says["type"] == "declared":
        words, schema = f"list of [{says['group']}]({says['group']}.md)", dict[str, Any](says)
    else:
        schema = TypeAdapter(annotation({**says, "nullable": says.get("nullable"), "infer": False})).json_schema()
        words = Words(lambda _: None).of(schema)
        schema = {**schema, **({"default": says["default"]} if "default" in says else {})}
    shown = "*inferred*" if says.get("infer") else default(schema, is_required="default" not in says)
    return code(name), words, shown, says["help"].removesuffix(" Inferred.")


def _escaped(text: str) -> str:
    """For HTML: a summary is no Markdown."""
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", plain)


_UNFOLD = "Click a name for its arguments."
_PAGES: dict[str, Callable[[Entries], Iterable[str]]] = {
    "datasets": _datasets,
    "transforms": _group(
        "Transforms",
        "What may stand in `dataset.transforms` and `dataset.train_transforms`: torchvision's `transforms.v2`, done in order.",
    ),
    "batch_transforms": _group(
        "Batch transforms", "What may stand in `dataset.batch_transforms`: done to whole training batches and their labels."
    ),
    "layers": _layers,
    "models": _models,
    "losses": _group("Losses", "What `loss` can be: torch.nn's losses of an output and a target."),
    "optimizers": _group(
        "Optimizers",
        "What `optimizer` can be: torch.optim's. [`groups`](../spec.md#parameter-groups) give some parameters options of their own.",
    ),
    "schedulers": _group(
        "Schedules",
        "What `lr_scheduler` can be: torch.optim.lr_scheduler's. `interval` is a key of each: stepped after every `step` or `epoch`.",
    ),
    "metrics": _metrics,
}
