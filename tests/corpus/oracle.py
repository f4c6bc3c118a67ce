"""Does a spec train? Asked of torch itself: built from the plain body, run for real on the CPU, none of the service's code in between.

Sizes left out are taken from what really arrives. A step is made on the first batch and on the last, and one evaluation batch is run.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

import worker.training.vision  # noqa: F401  # before torchvision

from torchvision import datasets  # isort: skip
from torchvision.transforms import v2  # isort: skip

_SIZES = {"in_features": -1, "in_channels": 1, "num_features": 1, "num_channels": 1, "input_size": -1, "normalized_shape": -1}
_SIZES |= {"embed_dim": -1, "d_model": -1, "in1_features": -1, "in2_features": -1}
_NEEDS: dict[str, str] = {
    **dict.fromkeys(("Linear",), "in_features"),
    **dict.fromkeys((f"{kind}{d}d" for kind in ("Conv", "ConvTranspose") for d in (1, 2, 3)), "in_channels"),
    **dict.fromkeys((f"{kind}{d}d" for kind in ("BatchNorm", "InstanceNorm") for d in (1, 2, 3)), "num_features"),
    **dict.fromkeys(("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"), "input_size"),
    **dict.fromkeys(("LayerNorm", "RMSNorm"), "normalized_shape"),
    **dict.fromkeys(("TransformerEncoderLayer", "TransformerDecoderLayer"), "d_model"),
    "GroupNorm": "num_channels",
    "MultiheadAttention": "embed_dim",
}
_BATCH_FIRST = ("RNN", "LSTM", "GRU", "MultiheadAttention", "TransformerEncoderLayer", "TransformerDecoderLayer", "Transformer")
_RECURRENT = ("RNN", "LSTM", "GRU")


class Refused(Exception):
    """Runs in torch, but means nothing: samples mixed, a loss that broadcasts, targets that a loss has no place for."""


class Net(nn.Module):
    """A body's layers, built while the first batch passes."""

    def __init__(self, body: Mapping[str, Any], batch: torch.Tensor) -> None:
        super().__init__()
        self.made = nn.ModuleDict()
        self.body = body
        self.eval()
        with torch.no_grad():
            self.output = self._run(body, [batch], "m")

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """One pass through what was built."""
        return self._run(self.body, [batch], "m")

    def _run(self, body: Any, inputs: Sequence[torch.Tensor], path: str) -> torch.Tensor:
        body = {"type": body} if isinstance(body, str) else body
        before = inputs[0]
        output = self._of(body, inputs, path)
        if not isinstance(output, torch.Tensor) or output.dim() == 0 or output.shape[0] != before.shape[0] or 0 in output.shape:
            raise Refused(f"{body['type']} loses the batch, or everything")
        return output

    def _chain(self, layers: Sequence[Any], batch: torch.Tensor, path: str) -> torch.Tensor:
        for at, layer in enumerate(layers):
            batch = self._run(layer, [batch], f"{path}_{at}")
        return batch

    def _of(self, body: Mapping[str, Any], inputs: Sequence[torch.Tensor], path: str) -> Any:
        match body["type"]:
            case "Sequential":
                return self._chain(body["layers"], inputs[0], path)
            case "Repeat":
                output = inputs[0]
                for at in range(body["times"]):
                    output = self._chain(body["layers"], output, f"{path}_{at}")
                return output
            case "Residual":
                output, side = (
                    self._chain(body["layers"], inputs[0], f"{path}l"),
                    self._chain(body.get("shortcut") or [], inputs[0], f"{path}s"),
                )
                if output.shape != side.shape:
                    raise Refused("a residual that broadcasts")
                return output + side
            case "Concat" | "Parallel":
                outputs = [self._chain(branch, inputs[0], f"{path}b{at}") for at, branch in enumerate(body["branches"])]
                if body["type"] == "Concat":
                    return torch.cat(outputs, dim=body.get("dim", 1))
                if len({each.shape for each in outputs}) > 1:
                    raise Refused("branches that broadcast")
                return sum(outputs[1:], outputs[0])
            case "Graph":
                return self._graph(body, inputs[0], path)
        return self._leaf(body, inputs, path)

    def _graph(self, body: Mapping[str, Any], batch: torch.Tensor, path: str) -> torch.Tensor:
        values, before = {"input": batch}, "input"
        for node in body["nodes"]:
            names = node.get("inputs", before)
            names = [names] if isinstance(names, str) else names
            values[node["name"]] = self._run(node["layer"], [values[name] for name in names], f"{path}{node['name']}")
            before = node["name"]
        return values[body.get("output", before)]

    def _leaf(self, body: Mapping[str, Any], inputs: Sequence[torch.Tensor], path: str) -> Any:
        kind = body["type"]
        if kind in ("Add", "Multiply", "Cat", "MatMul"):
            return {
                "Add": lambda: sum(inputs[1:], inputs[0]),
                "Multiply": lambda: inputs[0] * inputs[1],
                "MatMul": lambda: inputs[0] @ inputs[1],
            }.get(kind, lambda: torch.cat(list(inputs), body.get("dim", 1)))()
        if kind == "Permute":
            return inputs[0].permute(body["dims"])
        if _means_nothing(body, inputs[0]):
            raise Refused("torch lets it pass, and it means nothing")
        if path not in self.made:
            self.made[path] = _made(body, inputs)
        module = self.made[path]
        if next(module.parameters(), None) is not None and kind not in ("Embedding", "EmbeddingBag") and inputs[0].dtype != torch.float32:
            raise Refused("weights are float32")
        if kind in _RECURRENT:
            output, hidden = module(inputs[0])
            hidden = hidden[0] if kind == "LSTM" else hidden
            if body.get("returns", "sequence") == "sequence":
                return output
            return torch.cat((hidden[-2], hidden[-1]), 1) if body.get("bidirectional") else hidden[-1]
        if kind == "LSTMCell":
            return module(inputs[0])[0]
        if kind == "MultiheadAttention":
            query, key, value = (*inputs, *inputs[:1] * 2)[:3] if len(inputs) != 2 else (inputs[0], inputs[1], inputs[1])
            return module(query, key, value, need_weights=False)[0]
        return module(*inputs)


def _means_nothing(body: Mapping[str, Any], batch: torch.Tensor) -> bool:
    """What torch forgives: another number of channels than the input has, a window of nothing, a convolution that crops."""
    kind = body["type"]
    if kind.startswith("InstanceNorm") and batch.dim() > 2:
        return body.get("num_features") not in (None, batch.shape[1])

    def numbers(name: str) -> list[int]:
        value = body.get(name)
        return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, int)]

    crops = kind.startswith(("Conv", "Circular")) and any(each < 0 for each in numbers("padding"))
    return (
        crops
        or any(each < 1 for each in numbers("kernel_size"))
        or 0 in (body.get("scale_factor"), body.get("beta"))
        or _bends_backwards(body)
    )


def _bends_backwards(body: Mapping[str, Any]) -> bool:
    """In place with a negative slope, torch has no gradient; it says so only where one is asked for."""
    return bool(body.get("inplace")) and min(body.get("alpha", 0), body.get("negative_slope", 0)) < 0


def _made(body: Mapping[str, Any], inputs: Sequence[torch.Tensor]) -> nn.Module:
    arguments = {
        name: tuple(value) if isinstance(value, list) else value for name, value in body.items() if name not in ("type", "returns")
    }
    needed = _NEEDS.get(body["type"])
    if needed and arguments.get(needed) is None:
        arguments[needed] = inputs[0].shape[_SIZES[needed]]
    if body["type"] in _BATCH_FIRST:
        arguments.setdefault("batch_first", True)
    if body["type"] in ("Softmax", "LogSoftmax", "Softmin"):
        arguments.setdefault("dim", 1)
    return getattr(nn, body["type"])(**arguments)


def trains(body: Mapping[str, Any]) -> str | None:
    """None where the spec trains, else why it does not; ArithmeticError where torch runs, but to no number. The data set is FakeData."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _step(body)
    except Exception as error:  # torch raises anything, and all of it means no
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return None


def _step(body: Mapping[str, Any]) -> None:
    dataset = body["dataset"]
    transform = v2.Compose(
        [_transform(each) for each in dataset.get("transforms", ["ToImage", {"type": "ToDtype", "dtype": "float32", "scale": True}])]
    )
    size, classes = dataset["size"], dataset.get("num_classes", 10)
    fake = datasets.FakeData(size=size, image_size=tuple(dataset["image_size"]), num_classes=classes, transform=transform)
    loader = body.get("dataloader", {})
    rows = loader.get("batch_size", 64)
    inputs = torch.stack([fake[at][0] for at in range(min(size, 2 * rows + 8))]).as_subclass(torch.Tensor)
    # the worst labels that may come
    first, last = min(rows, size), size if size < rows else (rows if loader.get("drop_last") or size % rows == 0 else size % rows)
    if loader.get("drop_last") and size < rows:
        raise Refused("no batch at all")
    torch.manual_seed(0)
    model = Net(body["model"], inputs[:2] if len(inputs) > 1 else inputs.repeat(2, *[1] * (inputs.dim() - 1)))
    optimizer = _named(torch.optim, body["optimizer"], model.parameters())
    scheduler = _named(torch.optim.lr_scheduler, body["lr_scheduler"], optimizer) if body.get("lr_scheduler") else None
    loss_fn = _loss(body["loss"])
    for count in (first, last):
        model.train()
        labels = (classes - 1 - torch.arange(count)) % classes
        loss = _measured(loss_fn, model, inputs[:count], labels, dataset.get("target", "label"), classes)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if not torch.isfinite(loss):
            raise ArithmeticError("the loss is no number")
        if scheduler is not None:
            scheduler.step()
    model.eval()
    with torch.inference_mode():
        labels = torch.arange(min(len(inputs), 8)) % classes
        _measured(loss_fn, model, inputs[: len(labels)], labels, dataset.get("target", "label"), classes)


def _measured(loss_fn: nn.Module, model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor, target: str, classes: int) -> torch.Tensor:
    outputs = model(inputs)
    one_hot = functional.one_hot(labels, classes).float()
    targets = {"one_hot": one_hot, "signed": one_hot * 2 - 1, "value": labels.float().unsqueeze(1), "input": inputs}.get(target, labels)
    by_number = type(loss_fn).__name__ in ("CrossEntropyLoss", "NLLLoss", "MultiMarginLoss") and target == "label"
    if by_number and outputs.dim() != 2:
        raise Refused("class numbers want one number for each class")
    if not by_number and outputs.shape != targets.shape:
        raise Refused("a loss that broadcasts")
    if target in ("label", "one_hot", "signed"):
        (outputs.argmax(1) == labels).sum()
    return loss_fn(outputs, targets)


def _loss(body: Any) -> nn.Module:
    body = {"type": body} if isinstance(body, str) else body
    arguments = {name: torch.tensor(value) if isinstance(value, list) else value for name, value in body.items() if name != "type"}
    return getattr(nn, body["type"])(**arguments)


def _named(home: Any, body: Any, first: Any) -> Any:
    body = {"type": body} if isinstance(body, str) else body
    return getattr(home, body["type"])(first, **{name: value for name, value in body.items() if name not in ("type", "interval")})


def _transform(body: Any) -> Any:
    body = {"type": body} if isinstance(body, str) else dict(body)
    arguments = {name: getattr(torch, value) if name == "dtype" else value for name, value in body.items() if name != "type"}
    return getattr(v2, body["type"])(**arguments)
