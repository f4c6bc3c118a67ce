"""The model in the program: its class, the expression that makes it, the weights it starts from, and what of the textbook it needs."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Sequence
from typing import Any

from service.spec.catalog import Declared
from service.spec.job import JobSpec
from service.spec.model import (
    AnyLayer,
    Composite,
    Concat,
    FromJob,
    Graph,
    Module,
    Parallel,
    Repeat,
    Residual,
    Sequential,
    Torchvision,
    built,
    frozen,
)
from worker.training import textbook
from worker.training.build import steps, torchvision_arguments
from worker.training.script.calls import call

_OURS = frozenset(
    ("load", "evaluate", "main", "transform", "train_transform", "warn_of_differences", "SEED", "EPOCHS", "THREADS", "TRAINED_WITH", "SKIP")
)
"""Names of this program that a user's source might use as well."""


def additions(spec: JobSpec) -> list[str]:
    """The source of what the model is made of that torch has no class for."""
    return _sources(_additions(built(spec.model)))


def carried(spec: JobSpec) -> list[str]:
    """The source of what this spec uses of the textbook's additions."""
    needed = dict.fromkeys(_additions(built(spec.model)))
    if frozen(spec.model):
        needed["freeze"] = None
    if spec.dataloader.sampler is not None:
        needed["sample_weights"] = None
    if spec.training.channels_last:
        needed["to_channels_last"] = None
    if spec.optimizer.groups:
        needed["parameter_groups"] = None
    if spec.training.ema_decay is not None:
        needed["moving_average"] = None
    if spec.dataset.train_transforms or spec.dataset.batch_transforms:
        needed["seed_of"] = None
    if spec.dataset.train_transforms:
        needed |= {"Transformed": None, "augmented" if spec.dataset.augments_batches else "Augmented": None}
    if spec.dataset.batch_transforms:
        needed["mixed"] = None
    return _sources(needed)


def _sources(names: Iterable[str]) -> list[str]:
    # what a type checker wants to know is no reader's concern
    return [re.sub(r"  # type: ignore.*", "", inspect.getsource(getattr(textbook, name))) for name in dict.fromkeys(names)]


def _additions(model: Any) -> list[str]:
    if isinstance(model, Declared):
        return [model.type] if hasattr(textbook, model.type) else []
    if not isinstance(model, Composite):
        return []
    own = [model.type] if model.type not in ("Sequential", "Repeat") else []
    return own + [name for _, part in model.parts() for name in _additions(part)]


def model(spec: JobSpec) -> tuple[str, str]:
    """What stands above `main` for the model, and the expression that makes it."""
    match built(spec.model):
        case Sequential() as model:
            lines = "\n".join(f"{_layer(layer, 12)}," for layer in model.layers)
            return (
                f'class MyNet(nn.Sequential):\n    """The model: layers, one after the other."""\n\n    def __init__(self):\n        super().__init__(\n{lines}\n        )\n',
                "MyNet()",
            )
        case Graph() as model:
            return (
                f'class MyNet(Graph):\n    """The model: named steps."""\n\n    def __init__(self):\n        super().__init__(\n{_graph(model, 12)}        )\n',
                "MyNet()",
            )
        case Torchvision() as model:
            arguments = ", ".join(f"{name}={value!r}" for name, value in torchvision_arguments(model).items())
            return "", f"models.get_model({model.name!r}, {arguments})"
        case Module() as model:
            return _source(model), f"{_class(model)}({', '.join(f'{name}={value!r}' for name, value in model.kwargs.items())})"


def _source(module: Module) -> str:
    """The user's source, which stands as it is; where it has names of this program's, in a module of its own."""
    tree = ast.parse(module.code)
    future = {
        line
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module == "__future__"
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    code = "\n".join(line for number, line in enumerate(module.code.splitlines(), 1) if number not in future)
    if _apart(module):
        return f"# the model's source uses names of this program, so it gets a namespace of its own\nuser = {{}}\nexec({code!r}, user)  # noqa: S102\n"
    return code + "\n"


def _apart(module: Module) -> bool:
    tree = ast.parse(module.code)
    names = {getattr(node, "name", None) for node in tree.body}
    names |= {target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets if isinstance(target, ast.Name)}
    return bool(names & _OURS) or any(hasattr(textbook, str(name)) for name in names)


def _class(module: Module) -> str:
    return f"user[{module.class_name!r}]" if _apart(module) else module.class_name


def _layer(layer: AnyLayer, indent: int) -> str:
    pad = " " * indent
    match layer:
        case Declared():
            return f"{pad}{'' if hasattr(textbook, layer.type) else 'nn.'}{call(layer)}"
        case Sequential():
            return f"{pad}nn.Sequential(\n{_lines(layer.layers, indent + 4)}{pad})"
        case Repeat():
            return _layer(layer.expanded(), indent)
        case Residual():
            inner = [_layer(Sequential(type="Sequential", layers=layer.layers), indent + 4)]
            if layer.shortcut:
                inner.append(_layer(Sequential(type="Sequential", layers=layer.shortcut), indent + 4))
            return f"{pad}Residual(\n" + "".join(f"{each},\n" for each in inner) + f"{pad})"
        case Concat() | Parallel():
            branches = "".join(f"{_branch(branch, indent + 4)},\n" for branch in layer.branches)
            last = f"dim={layer.dim}" if isinstance(layer, Concat) else f"merge={layer.merge!r}"
            return f"{pad}{layer.type}(\n{pad}[\n{branches}{pad}],\n{pad}{last})"
        case Graph():
            return f"{pad}Graph(\n{_graph(layer, indent + 4)}{pad})"
    raise LookupError(layer.type)


def _branch(layers: Sequence[AnyLayer], indent: int) -> str:
    pad = " " * indent
    return f"{pad}nn.Sequential(\n{_lines(layers, indent + 4)}{pad})" if layers else f"{pad}nn.Sequential()"


def _lines(layers: Sequence[AnyLayer], indent: int) -> str:
    return "".join(f"{_layer(layer, indent)},\n" for layer in layers)


def _graph(graph: Graph, indent: int) -> str:
    pad = " " * indent
    nodes = "".join(f"{pad}    {node.name!r}: {_layer(node.layer, indent + 4).lstrip()},\n" for node in graph.nodes)
    order = "".join(f"{pad}    ({name!r}, {list(inputs)!r}),\n" for name, inputs in steps(graph))
    return f"{pad}nodes={{\n{nodes}{pad}}},\n{pad}steps=[\n{order}{pad}],\n{pad}output={graph.last!r},\n"


INIT_ARGUMENT = (
    '    parser.add_argument("--init", type=Path, default=Path(__file__).with_name("initial.safetensors"), help="weights to start from")\n'
)


def has_initial(spec: JobSpec) -> bool:
    """Whether weights are loaded before training."""
    return isinstance(spec.model, FromJob) or (isinstance(spec.model, Torchvision) and spec.model.weights is not None)


def init(spec: JobSpec) -> str:
    """What is done to the fresh model: weights loaded, parts frozen, memory laid out."""
    loaded = "    model.load_state_dict(load_file(args.init), strict=False)\n" if has_initial(spec) else ""
    loaded += f"    freeze(model, {list(frozen(spec.model))!r})\n" if frozen(spec.model) else ""
    return loaded + ("    to_channels_last(model)\n" if spec.training.channels_last else "")


def judged(spec: JobSpec) -> str:
    """The model that is evaluated and saved."""
    return "model" if spec.training.ema_decay is None else "average.module"
