"""From a resolved spec to torch objects. The catalog is the allow-list: nothing is built that it does not name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import torch
from torch import nn

import worker.training.vision  # noqa: F401  # before torchvision
from service.spec.catalog import Declared, load
from service.spec.dataset import Dataset, Task
from service.spec.job import JobSpec
from service.spec.model import AnyLayer, Concat, Graph, Model, Module, Parallel, Repeat, Residual, Sequential, Torchvision, built
from service.spec.monitors import snake_case
from service.spec.training import Optimizer
from worker.training import textbook

from torchvision import models  # isort: skip
from torchvision.transforms import v2  # isort: skip

Transform = Callable[..., Any]
AnyScheduler = torch.optim.lr_scheduler.LRScheduler | torch.optim.lr_scheduler.ReduceLROnPlateau


CODE = "<model.code>"
"""The file that a spec's own code says it is, in traces."""


class UserCodeFault(Exception):
    """The user's own Python failed; the text says how."""


def build_layer(layer: AnyLayer) -> nn.Module:
    """One layer, with ordinary arguments (no Lazy modules: they would draw their weights in another order)."""
    match layer:
        case Declared():
            home = textbook if hasattr(textbook, layer.type) else nn
            return cast("nn.Module", getattr(home, layer.type)(**layer.chosen()))
        case Repeat():
            return build_layer(layer.expanded())
    return joined(layer, [build_layer(part) for _, part in layer.parts()])


def joined(layer: AnyLayer, parts: Sequence[nn.Module]) -> nn.Module:
    """A composite of its direct layers' modules, which stand in the order of `parts()`."""
    match layer:
        case Sequential():
            return nn.Sequential(*parts)
        case Residual():
            inner, shortcut = parts[: len(layer.layers)], parts[len(layer.layers) :]
            return textbook.Residual(nn.Sequential(*inner), nn.Sequential(*shortcut) if layer.shortcut else None)
        case Concat() | Parallel():
            rest = iter(parts)
            branches = [nn.Sequential(*(next(rest) for _ in branch)) for branch in layer.branches]
            if isinstance(layer, Concat):
                return textbook.Concat(branches, dim=layer.dim)
            return textbook.Parallel(branches, merge=layer.merge)
        case Graph():
            nodes = dict(zip((node.name for node in layer.nodes), parts, strict=True))
            return textbook.Graph(nodes, steps(layer), layer.last)
    raise LookupError(f"{layer.type} joins nothing")


def steps(graph: Graph) -> list[tuple[str, tuple[str, ...]]]:
    """A graph's (name, inputs), in an order in which each comes after its inputs."""
    return [(graph.nodes[at].name, graph.inputs_of(at)) for at in graph.order()]


def build_model(model: Model) -> nn.Module:
    """The model, layers in written order, so that a seed gives the weights that the written-out program gets. Raises UserCodeFault."""
    match built(model):
        case Torchvision() as named:
            return cast("nn.Module", models.get_model(named.name, **torchvision_arguments(named)))
        case Module() as module:
            return custom(module)
        case Sequential() | Graph() as layers:
            return build_layer(layers)


def torchvision_arguments(model: Torchvision) -> dict[str, Any]:
    """What the model's builder is called with; published weights are loaded afterwards."""
    arguments: dict[str, Any] = {"weights": None, "num_classes": model.num_classes}
    if model.name in ("googlenet", "inception_v3"):
        arguments |= {"aux_logits": False, "init_weights": model.init_weights is not False}
    return arguments


def custom(module: Module) -> nn.Module:
    """Run the user's source and make the class. Only ever called in a contained process, or where the operator allows more."""
    namespace: dict[str, Any] = {"__name__": "custom_model"}
    try:
        exec(compile(module.code, CODE, "exec"), namespace)  # noqa: S102  # what this process is contained for
        made = namespace[module.class_name](**module.kwargs)
    except Exception as error:  # the user's code may raise anything at all
        raise UserCodeFault(f"{type(error).__name__}: {error}") from error
    if not isinstance(made, nn.Module):
        raise UserCodeFault(f"{module.class_name} is no nn.Module.")
    return made


def build_loss(loss: Declared) -> nn.Module:
    """The loss; class weights become a tensor."""
    arguments = {
        name: torch.tensor(value) if name in ("weight", "pos_weight") and value is not None else value
        for name, value in loss.chosen().items()
    }
    return cast("nn.Module", getattr(nn, loss.type)(**arguments))


def build_optimizer(optimizer: Optimizer, model: nn.Module, **options: Any) -> torch.optim.Optimizer:
    """The optimizer with torch's own default implementation: `foreach` and the plain loop give equal bits, `fused=True` does not."""
    if optimizer.groups:
        groups = [(group.match, group.options()) for group in optimizer.groups]
        return make_optimizer(optimizer, textbook.parameter_groups(model, groups), **options)
    return make_optimizer(optimizer, [parameter for parameter in model.parameters() if parameter.requires_grad], **options)


def make_optimizer(optimizer: Optimizer, parameters: Iterable[Any], **options: Any) -> torch.optim.Optimizer:
    """The optimizer over parameters or groups of them."""
    return cast("torch.optim.Optimizer", getattr(torch.optim, optimizer.type)(parameters, **optimizer.chosen(), **options))


def build_scheduler(scheduler: Declared, optimizer: torch.optim.Optimizer) -> AnyScheduler:
    """The schedule, inner ones first, in written order: making one sets the optimizer's learning rate."""
    arguments = {name: value for name, value in scheduler.chosen().items() if name not in ("interval", "monitor")}
    if "schedulers" in arguments:
        arguments["schedulers"] = [build_scheduler(inner, optimizer) for inner in arguments["schedulers"]]
    arguments = {name: list(value) if isinstance(value, tuple) else value for name, value in arguments.items()}
    made = getattr(torch.optim.lr_scheduler, scheduler.type)
    # ChainedScheduler takes the schedulers first
    if scheduler.type == "ChainedScheduler":
        return cast("AnyScheduler", made(arguments["schedulers"], optimizer=optimizer))
    return cast("AnyScheduler", made(optimizer, **arguments))


def build_transforms(declared: Sequence[Declared]) -> list[Transform]:
    """The transforms, in order."""
    return [_transform(each) for each in declared]


def build_mixing(dataset: Dataset) -> Transform:
    """`batch_transforms` as one, of (inputs, labels): labels become shares of classes [B, classes]."""
    return cast("Transform", v2.Compose([_mixing(each, dataset.facts.num_classes) for each in dataset.batch_transforms]))


def _mixing(declared: Declared, num_classes: int) -> Transform:
    arguments = declared.chosen()
    if declared.type == "RandomChoice":
        inner = [_mixing(each, num_classes) for each in arguments["transforms"]]
        return cast("Transform", v2.RandomChoice(inner, p=arguments.get("p")))
    return cast("Transform", getattr(v2, declared.type)(num_classes=num_classes, **arguments))


def _transform(declared: Declared) -> Transform:
    arguments: dict[str, Any] = {name: list(value) if isinstance(value, tuple) else value for name, value in declared.chosen().items()}
    if "dtype" in arguments:
        arguments["dtype"] = getattr(torch, arguments["dtype"])
    if "policy" in arguments:
        arguments["policy"] = v2.AutoAugmentPolicy(arguments["policy"])
    if "transforms" in arguments:
        arguments["transforms"] = build_transforms(arguments["transforms"])
    return cast("Transform", getattr(v2, declared.type)(**arguments))


def build_metrics(declared: Sequence[Declared], *, task: Task, num_classes: int) -> dict[str, Any]:
    """Torchmetrics' metrics by their name in snake_case."""
    # slow to import, and few jobs ask for more than the built-in ones
    import torchmetrics.classification
    import torchmetrics.regression

    made = {}
    for each in declared:
        if load()["metrics"][each.type]["task"] == "classification":
            maker = getattr(torchmetrics.classification, each.type)
            made[snake_case(each.type)] = maker(**_KINDS_OF_METRICS[task](num_classes), **each.chosen())
        else:
            made[snake_case(each.type)] = getattr(torchmetrics.regression, each.type)(**each.chosen())
    return made


_KINDS_OF_METRICS: dict[Task, Callable[[int], dict[str, Any]]] = {
    "classification": lambda classes: {"task": "multiclass", "num_classes": classes},
    "binary": lambda _: {"task": "binary"},
    "multilabel": lambda labels: {"task": "multilabel", "num_labels": labels},
}


def mixing_modules(model: nn.Module) -> list[str]:
    """Kinds of modules in a model whose result for a sample depends on the batch that it is in, or on draws that do."""
    kinds = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd, nn.RReLU)  # noqa: SLF001  # their own names for their families
    return sorted({type(each).__name__ for each in model.modules() if isinstance(each, kinds) or _drops(each)})


def _drops(module: nn.Module) -> bool:
    """Recurrent nets and attention drop without a module for it."""
    share = getattr(module, "dropout", None)
    return isinstance(share, float) and share > 0


def seeded_model(spec: JobSpec) -> nn.Module:
    """The model as the job's seed draws it, on the CPU."""
    if spec.resources.device == "gpu":
        torch.manual_seed(spec.seed)
    else:  # the same, but that it would note the seed, with a stack trace, for every kind of device that there might be: milliseconds
        torch.default_generator.manual_seed(spec.seed)
    return build_model(spec.model)
