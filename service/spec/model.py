"""The model part of a spec: layers, what joins layers, and whole models by name, by source or from an earlier job."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from service.spec.catalog import Closed, Declared, Shorthand, load, suggest, union
from service.spec.fixes import removing, setting
from service.spec.verdict import Fault

MAX_LAYERS = 1000
MAX_DEPTH = 16
MAX_CODE = 100_000
MERGES = ("Add", "Multiply", "MatMul", "Cat")
"""Layers that take any number of inputs, or two; only a Graph can give them."""

Name = Annotated[str, Field(strict=True, pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=100)]
Prefix = Annotated[str, Field(strict=True, min_length=1, max_length=200)]
Freeze = Annotated[tuple[Prefix, ...], Field(max_length=100)]


class Composite(Closed):
    """Something that joins layers."""

    type: str

    def parts(self) -> Iterator[tuple[str, AnyLayer]]:
        """Its direct layers, each with its JSON Pointer from here, in written order."""
        raise NotImplementedError


Layers = Annotated[tuple["Layer", ...], Field(min_length=1, max_length=MAX_LAYERS, description="Layers, one after the other.")]


class Sequential(Composite):
    """Layers, one after the other: `nn.Sequential`."""

    type: Literal["Sequential"]
    layers: Annotated[tuple[Layer, ...], Field(min_length=1, max_length=MAX_LAYERS)] = Field(description="The layers, in order.")

    def parts(self) -> Iterator[tuple[str, AnyLayer]]:
        """The layers."""
        yield from _numbered("/layers", self.layers)


class Residual(Composite):
    """The sum of the layers' output and of the input, the latter through `shortcut` where that is given."""

    type: Literal["Residual"]
    layers: Annotated[tuple[Layer, ...], Field(min_length=1, max_length=MAX_LAYERS)] = Field(
        description="Layers whose output has the input's shape, or the shortcut's."
    )
    shortcut: Annotated[tuple[Layer, ...], Field(min_length=1, max_length=MAX_LAYERS)] | None = Field(
        default=None, description="Layers that make the input fit; without them it is added as it is."
    )

    def parts(self) -> Iterator[tuple[str, AnyLayer]]:
        """The layers, then the shortcut's."""
        yield from _numbered("/layers", self.layers)
        yield from _numbered("/shortcut", self.shortcut or ())


Branches = Annotated[
    tuple[Annotated[tuple["Layer", ...], Field(max_length=MAX_LAYERS)], ...],
    Field(min_length=1, max_length=100, description="Lists of layers that all take the same input; an empty one hands it on as it is."),
]


class Concat(Composite):
    """Branches over the same input, their outputs joined along a dimension, as `torch.cat`."""

    type: Literal["Concat"]
    branches: Branches = Field(description="A list of layers for each branch; an empty one gives the input itself.")
    dim: Annotated[int, Field(strict=True)] = Field(default=1, description="Along which dimension, the batch being 0.")

    def parts(self) -> Iterator[tuple[str, AnyLayer]]:
        """The layers of every branch."""
        for at, branch in enumerate(self.branches):
            yield from _numbered(f"/branches/{at}", branch)


class Parallel(Composite):
    """Branches over the same input, their outputs added, multiplied or averaged."""

    type: Literal["Parallel"]
    branches: Branches = Field(description="A list of layers for each branch; an empty one gives the input itself.")
    merge: Literal["add", "multiply", "mean"] = Field(default="add", description="How the outputs become one.")

    def parts(self) -> Iterator[tuple[str, AnyLayer]]:
        """The layers of every branch."""
        for at, branch in enumerate(self.branches):
            yield from _numbered(f"/branches/{at}", branch)


class Repeat(Composite):
    """The same layers several times, with weights of their own each time. Becomes a Sequential of Sequentials."""

    type: Literal["Repeat"]
    times: Annotated[int, Field(strict=True, ge=1, le=MAX_LAYERS)] = Field(description="How many times.")
    layers: Annotated[tuple[Layer, ...], Field(min_length=1, max_length=MAX_LAYERS)] = Field(
        description="The layers that are repeated, in order."
    )

    def parts(self) -> Iterator[tuple[str, AnyLayer]]:
        """The layers, once."""
        yield from _numbered("/layers", self.layers)

    def expanded(self) -> Sequential:
        """What it stands for."""
        return Sequential(type="Sequential", layers=(Sequential(type="Sequential", layers=self.layers),) * self.times)


class Node(Closed):
    """A named step of a Graph."""

    name: Name = Field(description="By which other nodes, and `output`, mean its output.")
    layer: Layer = Field(description="A layer, or something that joins layers.")
    inputs: Annotated[tuple[Name, ...], Field(min_length=1, max_length=100)] | Name | None = Field(
        default=None, description="Names of nodes, or `input`; the node written before if left out."
    )


class Graph(Composite):
    """A forward pass as named nodes, each with its inputs: any graph without a circle."""

    type: Literal["Graph"]
    nodes: Annotated[tuple[Node, ...], Field(min_length=1, max_length=MAX_LAYERS)] = Field(description="The steps.")
    output: Name | None = Field(default=None, description="The node whose output is the graph's; the last one if left out.")

    def parts(self) -> Iterator[tuple[str, AnyLayer]]:
        """The nodes' layers."""
        for at, node in enumerate(self.nodes):
            yield f"/nodes/{at}/layer", node.layer

    def inputs_of(self, at: int) -> tuple[str, ...]:
        """The names that the node at a place takes."""
        given = self.nodes[at].inputs
        if given is None:
            return (self.nodes[at - 1].name if at else "input",)
        return (given,) if isinstance(given, str) else given

    @property
    def last(self) -> str:
        """The node whose output is the graph's."""
        return self.output or self.nodes[-1].name

    def order(self) -> list[int]:
        """The nodes' places so that each comes after its inputs, otherwise as written; shorter than `nodes` where there is a circle."""
        done, order = {"input"}, list[int]()
        waiting = list(range(len(self.nodes)))
        while (ready := next((at for at in waiting if done.issuperset(self.inputs_of(at))), None)) is not None:
            waiting.remove(ready)
            done.add(self.nodes[ready].name)
            order.append(ready)
        return order


def _numbered(prefix: str, layers: tuple[AnyLayer, ...]) -> Iterator[tuple[str, AnyLayer]]:
    return ((f"{prefix}/{at}", layer) for at, layer in enumerate(layers))


COMPOSITES: tuple[type[Composite], ...] = (Sequential, Residual, Concat, Parallel, Repeat, Graph)
AnyLayer = Declared | Composite
if TYPE_CHECKING:
    Layer = Declared | Composite
else:
    Layer = union("layers", more=COMPOSITES)
    for each in (*COMPOSITES, Node):
        each.model_rebuild(_types_namespace={"Layer": Layer, "Node": Node, "AnyLayer": AnyLayer})


class Torchvision(Closed):
    """A classifier of `torchvision.models`, by name."""

    own_keys: ClassVar[frozenset[str]] = frozenset({"freeze"})

    type: Literal["torchvision"]
    name: Literal[tuple(load()["models"])] = Field(description="As `torchvision.models.list_models()` has it.")  # type: ignore[valid-type]  # the list is data
    weights: Annotated[str, Field(strict=True, max_length=100)] | None = Field(
        default=None, description="Published weights, by torchvision's name, from the data set store; null starts afresh."
    )
    num_classes: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | None = Field(
        default=None, description="Outputs of the head. Inferred."
    )
    freeze: Freeze = Field(default=(), description="Parameters whose names begin so are not trained.")
    init_weights: Annotated[bool, Field(strict=True)] | None = Field(
        default=None, description="GoogLeNet and Inception only: torchvision's slow initialisation; true if left out."
    )
    aux_logits: Literal[False] | None = Field(
        default=None, description="GoogLeNet and Inception only: their second outputs are left out, as one loss takes one output."
    )


class Module(Closed):
    """A custom `nn.Module` as source. It is never run in the service's own processes, only contained."""

    type: Literal["Module"]
    class_name: Name = Field(description="The class that is built.")
    code: Annotated[str, Field(strict=True, min_length=1, max_length=MAX_CODE)] = Field(description="Python source that defines the class.")
    kwargs: dict[str, Any] = Field(default_factory=dict, description="Its constructor's arguments.")


class FromJob(Closed):
    """The model of an earlier job, with its weights: a warm start."""

    type: Literal["Job"]
    job_id: Annotated[str, Field(strict=True, pattern=r"^job_[0-9a-f]{21}$")] = Field(description="The earlier job, of the same project.")
    checkpoint: Literal["best", "last"] = Field(default="best", description="The job's model, or the weights of its last checkpoint.")
    freeze: Freeze = Field(default=(), description="Parameters whose names begin so are not trained.")
    model: Annotated[Sequential | Graph | Torchvision | Module, Field(discriminator="type")] | None = Field(
        default=None, description="What that job trained. Filled in by the service."
    )


if TYPE_CHECKING:
    Model = Sequential | Graph | Torchvision | Module | FromJob
else:
    Model = Annotated[
        Annotated[Sequential | Graph | Torchvision | Module | FromJob, Field(discriminator="type")],
        Shorthand(),
    ]


def built(model: Model) -> Sequential | Graph | Torchvision | Module:
    """What is really built: for a warm start, the earlier job's model."""
    if not isinstance(model, FromJob):
        return model
    if model.model is None:
        raise LookupError("the earlier job's model is not filled in")
    return model.model


def frozen(model: Model) -> tuple[str, ...]:
    """The prefixes of parameters that are not trained."""
    return model.freeze if isinstance(model, Torchvision | FromJob) else ()


def faults(model: Model) -> list[Fault]:
    """What is wrong with a model that can be seen without building it."""
    match model:
        case Composite():
            return [*_sizes(model), *_graphs(model, "/model")]
        case Torchvision():
            return _torchvision(model)
        case Module():
            return _module(model)
    return []


def leaves(layer: AnyLayer, pointer: str) -> Iterator[tuple[str, Declared]]:
    """Every layer that is no composite, with its pointer, in written order."""
    if isinstance(layer, Declared):
        yield pointer, layer
        return
    for suffix, part in layer.parts():
        yield from leaves(part, pointer + suffix)


def _sizes(model: Composite) -> list[Fault]:
    count, depth = _counted(model)
    if count > MAX_LAYERS:
        detail = f"A model has 1 to {MAX_LAYERS} layers; this has {count}, repetitions counted."
        return [Fault(pointer="/model", code="too_many_layers", detail=detail, suggestion="Use fewer layers.")]
    if depth > MAX_DEPTH:
        detail = f"Layers stand {depth} deep inside each other; {MAX_DEPTH} is the limit."
        return [Fault(pointer="/model", code="too_deep", detail=detail, suggestion="Use fewer levels.")]
    return []


def _counted(layer: AnyLayer) -> tuple[int, int]:
    """Layers, repetitions counted, and levels."""
    if isinstance(layer, Declared):
        return 1, 0
    inner = [_counted(part) for _, part in layer.parts()]
    times = layer.times if isinstance(layer, Repeat) else 1
    return times * sum(count for count, _ in inner), 1 + max((depth for _, depth in inner), default=0)


def _graphs(layer: AnyLayer, pointer: str) -> Iterator[Fault]:
    if isinstance(layer, Graph):
        yield from _graph(layer, pointer)
    if isinstance(layer, Composite):
        for suffix, part in layer.parts():
            yield from _graphs(part, pointer + suffix)


def _graph(graph: Graph, pointer: str) -> Iterator[Fault]:
    known = ["input", *(node.name for node in graph.nodes)]
    found = list[Fault]()
    for at, node in enumerate(graph.nodes):
        if node.name in known[: at + 1]:
            detail = f"`{node.name}` is already the name of another node." if node.name != "input" else "`input` is the graph's own input."
            found.append(Fault(pointer=f"{pointer}/nodes/{at}/name", code="duplicate_name", detail=detail, suggestion="Use another name."))
        for name in graph.inputs_of(at):
            if name not in known:
                found.append(_unknown_node(f"{pointer}/nodes/{at}/inputs", name, known, graph.nodes[at].inputs))
    if graph.output is not None and graph.output not in known[1:]:
        found.append(_unknown_node(f"{pointer}/output", graph.output, known[1:]))
    yield from found
    stuck = sorted(set(range(len(graph.nodes))) - set(graph.order())) if not found else []
    if stuck:
        names = ", ".join(graph.nodes[at].name for at in stuck)
        detail = f"These nodes wait for each other in a circle: {names}."
        yield Fault(pointer=f"{pointer}/nodes/{stuck[0]}/inputs", code="circle", detail=detail, suggestion="Break the circle.")


def _unknown_node(pointer: str, name: str, known: list[str], inputs: Sequence[str] | str | None = None) -> Fault:
    close = suggest(name, known)
    more = f"Did you mean `{close}`?" if close else f"Known: {', '.join(known)}."
    place = pointer if inputs is None or isinstance(inputs, str) else f"{pointer}/{inputs.index(name)}"
    fix = setting(place, close) if close else None
    return Fault(pointer=pointer, code="unknown_node", detail=f"There is no node `{name}`.", suggestion=more, fix=fix)


def _torchvision(model: Torchvision) -> list[Fault]:
    found = []
    known = load()["models"][model.name]["weights"]
    if model.weights is not None and model.weights not in (*known, "DEFAULT"):
        detail = f"{model.name} has no weights named `{model.weights}`."
        suggestion = f"Known: {', '.join([*known, 'DEFAULT'])}; or null."
        close = suggest(model.weights, [*known, "DEFAULT"])
        fix = setting("/model/weights", close or "DEFAULT") if known else setting("/model/weights", None)
        found.append(Fault(pointer="/model/weights", code="unknown_weights", detail=detail, suggestion=suggestion, fix=fix))
    for key in ("init_weights", "aux_logits"):
        if getattr(model, key) is not None and model.name not in ("googlenet", "inception_v3"):
            detail = f"`{key}` is an argument of googlenet and inception_v3 only."
            where, cure = f"/model/{key}", f"Leave {key} out."
            found.append(Fault(pointer=where, code="unknown_key", detail=detail, suggestion=cure, fix=removing(where)))
    return found


def _module(model: Module) -> list[Fault]:
    """What the source shows without being run: syntax, the class, its base. The real check runs it, contained."""
    try:
        tree = ast.parse(model.code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        detail = f"This is not Python: {error.args[0] if error.args else error}{line}."
        return [Fault(pointer="/model/code", code="syntax", detail=detail, suggestion="Try it with `python -m py_compile`.")]
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    if model.class_name not in classes:
        detail = f"The code defines no class `{model.class_name}` at its top level."
        known = f"It defines: {', '.join(classes)}." if classes else "Define it as class ...(nn.Module)."
        fix = setting("/model/class_name", next(iter(classes))) if len(classes) == 1 else None
        return [Fault(pointer="/model/class_name", code="no_class", detail=detail, suggestion=known, fix=fix)]
    if not classes[model.class_name].bases:
        detail = f"`{model.class_name}` has no base class; a model is an nn.Module."
        return [Fault(pointer="/model/code", code="no_module", detail=detail, suggestion=f"Write class {model.class_name}(nn.Module):")]
    return []
