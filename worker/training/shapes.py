"""Runs shapes through a model on the `meta` device: sizes left out are filled in, wrong ones found, layers tabled. Computes nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from service.spec.catalog import Declared
from service.spec.fixes import inserting, setting
from service.spec.model import AnyLayer, Composite, Concat, Graph, Node, Parallel, Repeat, Residual, Sequential
from service.spec.verdict import Fault, Fix, LayerRow
from worker.training.build import build_layer, joined

_AXIS = {
    "in_features": -1,
    "in1_features": -1,
    "in2_features": -1,
    "in_channels": 1,
    "num_features": 1,
    "num_channels": 1,
    "input_size": -1,
    "normalized_shape": -1,
    "embed_dim": -1,
    "d_model": -1,
}
"""Which axis of the input an inferred size is; `in2_features` is of the second input."""

TORCH_ERRORS = (
    RuntimeError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    AssertionError,
    AttributeError,
    NotImplementedError,
    ZeroDivisionError,
    OverflowError,
)
"""What torch raises at a layer that cannot be, or cannot take its input."""

_OF_TWO = ("Bilinear", "CosineSimilarity", "PairwiseDistance", "TransformerDecoderLayer", "Transformer", "Add", "Multiply", "MatMul", "Cat")
_CHEAP = 20_000
"""Numbers that a layer without weights may be tried on for real: some 20 microseconds."""

_KEEPS_SHAPE = ("Dropout", "Norm", "ReLU", "ELU", "Shrink", "shrink", "Sigmoid", "Softm", "LogSoftmax", "Tanh", "tanh")


class Abstractly(TorchFunctionMode):
    """Makes new tensors on `meta`.

    Unlike `torch.device("meta")` it lets a constructor read the numbers of torch.tensor and linspace, as RegNet's and Swin's do.
    """

    _MADE = frozenset({torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.full})

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        given = dict(kwargs or {})
        if func in self._MADE and given.get("device") is None:
            given["device"] = "meta"
        return func(*args, **given)


@dataclass
class Walk:
    """What a walk through the layers found. `complete` says that every layer was run; without it `output` may be missing."""

    rows: list[LayerRow] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    """Pointers of layers that no shape reached."""
    model: AnyLayer | None = None
    module: nn.Module | None = None
    output: torch.Tensor | None = None

    @property
    def complete(self) -> bool:
        """Whether every layer was run."""
        return not self.unchecked and self.output is not None

    @property
    def sound(self) -> bool:
        """Whether it is the model that the spec says, whole."""
        return self.complete and not self.faults


def walk(model: Composite, *, sample: torch.Tensor, rows: int = 2, span: tuple[int, int] | None = None) -> Walk:
    """Run a batch of `rows` samples like `sample` (on meta, without the batch) through, layer by layer.

    `span` is the least and the most of the whole numbers that samples hold, where that is known.

    After a layer of a wrong size goes on with the right one, after another fault with the layer's declared output size; where it has
    none, the layers that depend on it are listed as unchecked.
    """
    found = Walk()
    batch = sample.to("meta").expand(rows, *sample.shape)
    found.model, found.module, found.output = _Walker(found, span).run(model, [batch], "/model", ())
    if found.output is not None and (not found.rows or found.rows[-1].output_shape != tuple(found.output.shape[1:])):
        found.rows.append(LayerRow(path="", type=model.type, output_shape=tuple(found.output.shape[1:]), num_parameters=0))
    return found


def count(module: nn.Module) -> int:
    """Parameters, shared ones once."""
    return sum(parameter.numel() for parameter in module.parameters())


Ran = tuple[AnyLayer, nn.Module | None, torch.Tensor | None]
Path = tuple[str, ...]


class _Walker:
    def __init__(self, found: Walk, span: tuple[int, int] | None) -> None:
        self._found, self._span = found, span

    def run(self, layer: AnyLayer, inputs: Sequence[torch.Tensor], pointer: str, path: Path) -> Ran:
        """The layer with its sizes, its module, and its output, the latter two None where it cannot be run."""
        match layer:
            case Declared():
                return self._leaf(layer, inputs, pointer, path)
            case Sequential():
                layers, modules, output = self._chain(layer.layers, inputs[0], f"{pointer}/layers", path)
                return self._joined(layer.model_copy(update={"layers": layers}), modules, output)
            case Repeat():
                return self._repeat(layer, inputs[0], pointer, path)
            case Residual():
                return self._residual(layer, inputs[0], pointer, path)
            case Concat() | Parallel():
                return self._branches(layer, inputs[0], pointer, path)
            case Graph():
                return self._graph(layer, inputs[0], pointer, path)
        raise LookupError(layer.type)

    def _joined(self, layer: AnyLayer, modules: Sequence[nn.Module | None], output: torch.Tensor | None) -> Ran:
        whole = [module for module in modules if module is not None]
        return layer, joined(layer, whole) if len(whole) == len(modules) else None, output

    def _chain(
        self, layers: Sequence[AnyLayer], batch: torch.Tensor | None, pointer: str, path: Path
    ) -> tuple[tuple[AnyLayer, ...], list[nn.Module | None], torch.Tensor | None]:
        sized, modules = list[AnyLayer](), list[nn.Module | None]()
        for at, layer in enumerate(layers):
            if batch is None:
                self._found.unchecked.append(f"{pointer}/{at}")
                sized.append(layer)
                modules.append(None)
                continue
            one, module, batch = self.run(layer, [batch], f"{pointer}/{at}", (*path, str(at)))
            sized.append(one)
            modules.append(module)
        return tuple(sized), modules, batch

    def _repeat(self, layer: Repeat, batch: torch.Tensor, pointer: str, path: Path) -> Ran:
        """A Sequential of Sequentials: the rounds' inferred sizes may differ."""
        rounds, modules, output = list[AnyLayer](), list[nn.Module | None](), batch
        for at in range(layer.times):
            layers, inner, after = self._chain(layer.layers, output, f"{pointer}/layers", (*path, str(at)))
            one, module, _ = self._joined(Sequential(type="Sequential", layers=layers), inner, after)
            rounds.append(one)
            modules.append(module)
            if after is None:
                return layer, None, None
            output = after
        return self._joined(Sequential(type="Sequential", layers=tuple(rounds)), modules, output)

    def _residual(self, layer: Residual, batch: torch.Tensor, pointer: str, path: Path) -> Ran:
        layers, modules, output = self._chain(layer.layers, batch, f"{pointer}/layers", (*path, "layers"))
        shortcut, more, side = self._chain(layer.shortcut or (), batch, f"{pointer}/shortcut", (*path, "shortcut"))
        if output is not None and side is not None and output.shape != side.shape:
            detail = f"The layers' output, {shown(output)} per sample, cannot be added to the input's {shown(side)}."
            suggestion = "Keep the size, or give `shortcut` layers that change the input alike, for example a Conv2d with kernel_size 1."
            self._fault(pointer, "residual_shape", detail, suggestion)
        return self._joined(layer.model_copy(update={"layers": layers, "shortcut": shortcut or None}), [*modules, *more], output)

    def _branches(self, layer: Concat | Parallel, batch: torch.Tensor, pointer: str, path: Path) -> Ran:
        branches, modules, outputs = list[tuple[AnyLayer, ...]](), list[nn.Module | None](), list[torch.Tensor | None]()
        for at, branch in enumerate(layer.branches):
            layers, inner, output = self._chain(branch, batch, f"{pointer}/branches/{at}", (*path, "branches", str(at)))
            branches.append(layers)
            modules += inner
            outputs.append(output)
        whole = [output for output in outputs if output is not None]
        merged = self._merged(layer, whole, pointer) if len(whole) == len(outputs) else None
        return self._joined(layer.model_copy(update={"branches": tuple(branches)}), modules, merged)

    def _merged(self, layer: Concat | Parallel, outputs: list[torch.Tensor], pointer: str) -> torch.Tensor | None:
        shapes = ", ".join(str(shown(output)) for output in outputs)
        if isinstance(layer, Parallel):
            if len({output.shape for output in outputs}) > 1:
                detail = f"The branches' outputs differ per sample: {shapes}."
                self._fault(pointer, "branch_shapes", detail, "Give every branch the same output size.")
            return outputs[0]
        try:
            merged = torch.cat(outputs, dim=layer.dim)
        except TORCH_ERRORS as error:
            detail = f"The branches' outputs, {shapes} per sample, cannot be joined along dimension {layer.dim}: {first_line(error)}"
            self._fault(pointer, "branch_shapes", detail, "Outputs may differ along that dimension only.")
            return None
        return self._kept_batch(layer.type, merged, outputs[0], pointer)

    def _graph(self, graph: Graph, batch: torch.Tensor, pointer: str, path: Path) -> Ran:
        values: dict[str, torch.Tensor | None] = {"input": batch}
        nodes: dict[int, tuple[Node, nn.Module | None]] = {}
        for at in graph.order():
            node, at_node = graph.nodes[at], f"{pointer}/nodes/{at}/layer"
            inputs = [each for name in graph.inputs_of(at) if (each := values[name]) is not None]
            if len(inputs) < len(graph.inputs_of(at)):
                self._found.unchecked.append(at_node)
                values[node.name], nodes[at] = None, (node, None)
                continue
            if node.layer.type in ("Add", "Multiply") and len({each.dim() for each in inputs}) > 1:
                detail = f"{node.layer.type} is given {' and '.join(str(shown(each)) for each in inputs)} per sample: samples would mix."
                self._fault(f"{pointer}/nodes/{at}/inputs", "inputs", detail, "Give inputs of the same number of dimensions.")
            if isinstance(node.layer, Composite) and len(inputs) > 1:
                detail = f"{node.layer.type} takes one input; `{node.name}` is given {len(inputs)}."
                self._fault(f"{pointer}/nodes/{at}/inputs", "inputs", detail, "Join them first, with Add or Cat.")
            layer, module, values[node.name] = self.run(node.layer, inputs, at_node, (*path, node.name))
            nodes[at] = (node.model_copy(update={"layer": layer}), module)
        ordered = [nodes[at] for at in range(len(graph.nodes))]
        sized = graph.model_copy(update={"nodes": tuple(node for node, _ in ordered)})
        try:
            return self._joined(sized, [module for _, module in ordered], values[graph.last])
        except KeyError as error:
            self._fault(f"{pointer}/nodes", "reserved_name", f"A node's name is taken by nn.Module: {error.args[0]}.", "Use another name.")
            return sized, None, values[graph.last]

    def _leaf(self, layer: Declared, inputs: Sequence[torch.Tensor], pointer: str, path: Path) -> Ran:
        if layer.type in _OF_TWO and len(inputs) < 2:
            detail = f"{layer.type} takes more than one input; it is given {shown(inputs[0])} alone."
            self._fault(pointer, "inputs", detail, "Give each input by name, in a Graph.")
            return layer, None, None
        sized = self._sized(layer, inputs, pointer)
        with torch.device("meta"):
            try:
                module = build_layer(sized).eval()
            except TORCH_ERRORS as error:
                self._refused(layer, inputs, pointer, error)
                return sized, None, self._declared_output(sized, inputs)
        if not self._takes(layer, module, inputs[0], pointer):
            return sized, module, None
        try:
            with torch.no_grad():
                output = module(*inputs)
            if _is_cheap(module, inputs):
                _try_for_real(module, inputs)
            _mind_output_padding(layer)
        except TORCH_ERRORS as error:
            self._refused(layer, inputs, pointer, error)
            return sized, module, self._declared_output(sized, inputs)
        checked = self._kept_batch(layer.type, output, inputs[0], pointer)
        if checked is not None:
            row = LayerRow(path=".".join(path), type=layer.type, output_shape=tuple(output.shape[1:]), num_parameters=count(module))
            self._found.rows.append(row)
        return sized, module, checked

    def _sized(self, layer: Declared, inputs: Sequence[torch.Tensor], pointer: str) -> Declared:
        """The layer with the sizes that its input has; given and wrong is a fault."""
        for name in _AXIS.keys() & type(layer).model_fields.keys():
            if name == "d_model" and layer.type == "Transformer":
                continue
            at = 1 if name == "in2_features" else 0
            if at >= len(inputs) or inputs[at].dim() <= abs(_AXIS[name]):
                continue
            given, right = getattr(layer, name), inputs[at].shape[_AXIS[name]]
            if name == "normalized_shape" and isinstance(given, tuple):
                continue
            if given is not None and given != right:
                self._wrong_size(layer, name, given, right, inputs[at], pointer)
            layer = layer.model_copy(update={name: right})
        return layer

    def _wrong_size(self, layer: Declared, name: str, given: int, right: int, batch: torch.Tensor, pointer: str) -> None:
        hint = " A Flatten before it would join the dimensions." if name == "in_features" and batch.dim() > 2 else ""
        detail = f"{layer.type} expects {name}={right}, got {given}: its input per sample is {shown(batch)}.{hint}"
        fix = setting(f"{pointer}/{name}", right)
        if hint and given == math.prod(shown(batch)) and pointer.rpartition("/")[0].endswith("/layers"):
            fix = inserting(pointer, "Flatten")
        self._fault(f"{pointer}/{name}", "wrong_size", detail, f"Write {name}: {right}, or leave it out.", fix=fix)

    def _takes(self, layer: Declared, module: nn.Module, batch: torch.Tensor, pointer: str) -> bool:
        """Whether the layer takes numbers of the batch's type: meta does not always mind."""
        if layer.type in ("Embedding", "EmbeddingBag"):
            return self._takes_indices(layer, batch, pointer)
        if batch.dtype == torch.float32 or next(module.parameters(), None) is None:
            return True
        detail = f"{layer.type} takes float32; its input is {str(batch.dtype).removeprefix('torch.')}."
        suggestion = "End dataset.transforms with {type: ToDtype, dtype: float32, scale: true}, or put an Embedding first."
        self._fault(pointer, "wrong_type", detail, suggestion)
        return False

    def _takes_indices(self, layer: Declared, batch: torch.Tensor, pointer: str) -> bool:
        if batch.dtype not in (torch.int32, torch.int64):
            detail = f"{layer.type} takes whole numbers; its input is {str(batch.dtype).removeprefix('torch.')}."
            self._fault(pointer, "wrong_type", detail, "End dataset.transforms with {type: ToDtype, dtype: int64}.")
            return False
        least, most = self._span or (0, 0)
        vectors = layer.arguments()["num_embeddings"]
        if least < 0:
            detail = f"Samples hold numbers from {least} on, and {layer.type} has vectors for 0 and more."
            self._fault(pointer, "negative", detail, f"Add {-least} to all of them, and upload them again.")
        elif vectors <= most:
            detail = f"Samples hold numbers of {least} to {most}, and {layer.type} has {vectors} vectors."
            where = f"{pointer}/num_embeddings"
            self._fault(where, "too_few", detail, f"Write num_embeddings: {most + 1}.", fix=setting(where, most + 1))
        return True

    def _kept_batch(self, kind: str, output: Any, before: torch.Tensor, pointer: str) -> torch.Tensor | None:
        """The output, where it is one and still a batch of as many samples, with something in each."""
        if not isinstance(output, torch.Tensor) or output.dim() == 0 or output.shape[0] != before.shape[0]:
            size = list(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
            detail = f"{kind} does not keep the batch: of {list(before.shape)} it makes {size}."
            self._fault(pointer, "batch_lost", detail, "Leave dimension 0, the batch, as it is.")
            return None
        if 0 in output.shape:
            self._fault(
                pointer, "empty_output", f"{kind} leaves nothing: its output per sample is {shown(output)}.", "Use a smaller window."
            )
            return None
        return output

    def _declared_output(self, layer: Declared, inputs: Sequence[torch.Tensor]) -> torch.Tensor | None:
        """What a faulty layer says that it hands on: its input's shape, or that of the layer without its groups."""
        if any(part in layer.type for part in _KEEPS_SHAPE):
            return inputs[0]
        if layer.type.startswith("Conv") and layer.arguments().get("groups", 1) > 1:
            with torch.device("meta"):
                try:
                    return build_layer(layer.model_copy(update={"groups": 1}))(inputs[0])  # type: ignore[no-any-return]  # a convolution
                except TORCH_ERRORS:
                    return None
        return None

    def _refused(self, layer: Declared, inputs: Sequence[torch.Tensor], pointer: str, error: Exception) -> None:
        taken = " and ".join(str(shown(each)) for each in inputs)
        if isinstance(error, TypeError) and "positional argument" in str(error):
            what = "one input" if len(inputs) > 1 else "more than one input"
            self._fault(pointer, "inputs", f"{layer.type} takes {what}; it is given {taken}.", "Give each input by name, in a Graph.")
            return
        detail = f"{layer.type} cannot take its input, {taken} per sample: {first_line(error)}"
        self._fault(pointer, "shape", detail, _advice(layer, inputs))

    def _fault(self, pointer: str, code: str, detail: str, suggestion: str, *, fix: Fix | None = None) -> None:
        fault = Fault(pointer=pointer, code=code, detail=detail, suggestion=suggestion, fix=fix)
        # the rounds of a Repeat say the same thing
        if not any(each.pointer == pointer and each.code == code for each in self._found.faults):
            self._found.faults.append(fault)


def _is_cheap(module: nn.Module, inputs: Sequence[torch.Tensor]) -> bool:
    """Whether to run it on real numbers too: meta forgives a little more than the CPU does, as a Softmax over a dimension too many."""
    return not module.state_dict() and sum(each.numel() for each in inputs) <= _CHEAP


def _try_for_real(module: nn.Module, inputs: Sequence[torch.Tensor]) -> None:
    numbers = [torch.zeros(each.shape, dtype=each.dtype, requires_grad=each.is_floating_point()) for each in inputs]
    # a copy, since a leaf of autograd may not be written in place
    output = module(*(each.clone() for each in numbers))
    if getattr(module, "inplace", False) and isinstance(output, torch.Tensor) and output.requires_grad:
        output.sum().backward()  # type: ignore[no-untyped-call]  # torch ships it untyped


def _mind_output_padding(layer: Declared) -> None:
    """Torch minds it only where it computes. Raises ValueError."""
    if "output_padding" not in type(layer).model_fields:
        return
    sides = int(layer.type[-2])
    padding, stride, dilation = (
        value if isinstance(value, tuple) else (value,) * sides
        for value in (getattr(layer, name) for name in ("output_padding", "stride", "dilation"))
    )
    if any(each >= max(step, gap) for each, step, gap in zip(padding, stride, dilation, strict=False)):
        raise ValueError(f"output_padding {list(padding)} has to be smaller than stride {list(stride)} or dilation {list(dilation)}")


def shown(batch: torch.Tensor) -> list[int]:
    """One sample's shape."""
    return list(batch.shape[1:])


def first_line(error: BaseException) -> str:
    """The error's first line, ending in a full stop."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return text if text.endswith(".") else f"{text}."


def _advice(layer: Declared, inputs: Iterable[torch.Tensor]) -> str:
    dims = {"1d": "[channels, length]", "2d": "[channels, height, width]", "3d": "[channels, depth, height, width]"}
    wanted = dims.get(layer.type[-2:])
    if wanted and any(each.dim() != len(wanted.split(",")) + 1 for each in inputs):
        return f"{layer.type} wants {wanted} per sample; Flatten, Unflatten or Permute change the dimensions."
    return f"Change the layers before {layer.type}, or its arguments."
