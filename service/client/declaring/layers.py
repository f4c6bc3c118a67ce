"""From modules to layers: `nn.Sequential`, what joins layers, and every layer of the catalog."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from service.client.declaring.arguments import check_unsaid, declared, short
from service.client.declaring.objects import is_ours, is_torchs, name_of, refuse
from service.spec.catalog import load, suggest

Layer = dict[str, Any] | str

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_NODE = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_CURE_OF_A_CLASS = (
    "A spec's layers are those of torch.nn. Put the whole model into one class and give it with allow_source=True, "
    "or say it yourself: model={'type': 'Module', 'class_name': ..., 'code': ...}."
)


def model_of(model: Any) -> dict[str, Any]:
    """The `model` part for an `nn.Sequential`, whose `state_dict` has the same names. Raises CannotDeclare."""
    check(model)
    if _is_sequential(model):
        return _sequential(model, "model")
    if is_ours(model) and name_of(model) == "Graph":
        return _graph(model, "model")
    return refuse("model", model, "is a single layer", "Wrap it: nn.Sequential(model). Its weights are then called 0.weight, and so on.")


def is_declarable(model: Any) -> bool:
    """Whether the class is torch's, or ours: not one of somebody's own."""
    return _is_sequential(model) or is_torchs(model, "torch.nn") or is_ours(model)


def check(model: Any) -> None:
    """Whatever is wrong with a module wherever it stands. Raises CannotDeclare."""
    places: dict[int, str] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        place = at(path)
        if id(module) in places:
            refuse(place, module, f"is the very module of {places[id(module)]}, and a spec's layers share no weights", "Make a new one.")
        places[id(module)] = place
        if name_of(module).startswith("Lazy") and hasattr(module, "cls_to_become"):
            refuse(place, module, "has no sizes yet", "Run one batch through the model first, or name the sizes.")
        if any(getattr(module, hooks, None) for hooks in _HOOKS):
            refuse(place, module, "has a hook, which is a function", "Remove it; what it computes can only be said by a class of your own.")
        if "forward" in vars(module):
            refuse(place, module, "has a forward that was put there by hand", _CURE_OF_A_CLASS)
    _check_parameters(model)


def _check_parameters(model: Any) -> None:
    names: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owner = at(name)
        if id(parameter) in names:
            refuse(
                owner, parameter, f"is the very parameter of {names[id(parameter)]}, and a spec's layers share no weights", "Untie them."
            )
        names[id(parameter)] = owner
        if parameter.device.type not in ("cpu", "meta"):
            where = str(parameter.device)
            refuse(owner, parameter, f"lies on {where}", "Give model.cpu(); where a job trains is said by resources={'device': 'gpu'}.")
        if str(parameter.dtype) != "torch.float32":
            cure = "Give model.float(); what is computed in is said by training={'precision': 'bfloat16'}."
            refuse(owner, parameter, f"is {parameter.dtype}, and weights are float32", cure)
        if not parameter.requires_grad:
            cure = "Let it train: requires_grad_(True). `freeze` is for torchvision's models and those of earlier jobs."
            refuse(owner, parameter, "does not train (requires_grad is False), which a Sequential cannot say", cure)


def at(path: str) -> str:
    """A module's place, for people."""
    return f"model.{path}" if path else "model"


def layer_of(module: Any, place: str) -> Layer:
    """One layer. Raises CannotDeclare."""
    if _is_sequential(module):
        return _sequential(module, place)
    name = name_of(module)
    if is_ours(module) and name in _JOINING:
        return _JOINING[name](module, place)
    if name not in load()["layers"] or not (is_torchs(module, "torch.nn") or is_ours(module)):
        return _refuse_layer(module, place)
    for path, inner in module.named_modules():
        if not is_torchs(inner, "torch.nn") and inner is not module:
            refuse(f"{place}.{path}", inner, f"stands inside {name}, and is no module of torch's", _CURE_OF_A_CLASS)
    if not is_ours(module):
        check_unsaid("layers", module, place)
    readers = _READERS.get(name, {})
    said = declared("layers", module, place, lambda argument: readers.get(argument, _attribute(argument))(module, place))
    return short(_without_what_follows(said))


def _is_sequential(module: Any) -> bool:
    """Whether its forward is that of nn.Sequential, also where the class only makes its layers in a constructor of its own."""
    base = next((each for each in type(module).__mro__ if each.__name__ == "Sequential" and each.__module__.startswith("torch.nn.")), None)
    own = type(module).__mro__[: type(module).__mro__.index(base)] if base else ()
    return base is not None and not any({"forward", "__call__", "__getattr__"} & vars(each).keys() for each in own)


def _sequential(module: Any, place: str) -> dict[str, Any]:
    """Layers by number; where they have names, a Graph, whose nodes keep them."""
    names = list(module._modules)  # noqa: SLF001  # named_children leaves out what stands there twice
    if names == [str(number) for number in range(len(names))]:
        # torch takes an empty one for the identity
        return {"type": "Sequential", "layers": _each(module, place) or ["Identity"]}
    if odd := [name for name in names if not _NODE.fullmatch(name) or name == "input"]:
        cure = "Use letters, digits and _, or no names."
        return refuse(f"{place}.{odd[0]}", module, f"calls a layer {odd[0]!r}, which a spec cannot", cure)
    layers = _each(module, place)
    return {"type": "Graph", "nodes": [{"name": name, "layer": layer} for name, layer in zip(names, layers, strict=True)]}


def _each(module: Any, place: str) -> list[Layer]:
    return [layer_of(child, f"{place}.{name}") for name, child in module._modules.items()]  # noqa: SLF001  # as above


def _inside(module: Any, place: str) -> list[Layer]:
    """The layers of a Sequential that a spec writes as a list."""
    said = _sequential(module, place) if _is_sequential(module) else {}
    if said.get("type") != "Sequential":
        refuse(place, module, "is no nn.Sequential of numbered layers", "Put it into one: nn.Sequential(...).")
    return said["layers"] if len(module) else []


def _residual(module: Any, place: str) -> Layer:
    said: dict[str, Any] = {"type": "Residual", "layers": _inside(module.layers, f"{place}.layers") or ["Identity"]}
    if module.shortcut is not None:
        said["shortcut"] = _inside(module.shortcut, f"{place}.shortcut") or ["Identity"]
    return said


def _concat(module: Any, place: str) -> Layer:
    said = {"type": "Concat", "branches": _branches(module, place)}
    return said if module.dim == 1 else said | {"dim": module.dim}


def _parallel(module: Any, place: str) -> Layer:
    said = {"type": "Parallel", "branches": _branches(module, place)}
    return said if module.merge == "add" else said | {"merge": module.merge}


def _branches(module: Any, place: str) -> list[list[Layer]]:
    return [_inside(branch, f"{place}.branches.{number}") for number, branch in enumerate(module.branches)]


def _graph(module: Any, place: str) -> dict[str, Any]:
    inputs = {name: list(given) for name, given in module._steps}  # noqa: SLF001  # the graph's own record
    nodes, before = [], "input"
    for name, child in module.named_children():
        node: dict[str, Any] = {"name": name, "layer": layer_of(child, f"{place}.{name}")}
        if inputs[name] != [before]:
            node["inputs"] = inputs[name]
        nodes.append(node)
        before = name
    output = module._output  # noqa: SLF001  # the graph's own record
    return {"type": "Graph", "nodes": nodes} | ({} if output == before else {"output": output})


_JOINING: Mapping[str, Callable[[Any, str], Layer]] = {"Residual": _residual, "Concat": _concat, "Parallel": _parallel, "Graph": _graph}


def _refuse_layer(module: Any, place: str) -> Layer:
    name = name_of(module)
    if name in ("ModuleList", "ModuleDict"):
        return refuse(place, module, "only holds modules, and does not say how they follow each other", "Use nn.Sequential.")
    if not is_torchs(module, "torch.nn"):
        return refuse(place, module, "is a class of your own", _CURE_OF_A_CLASS)
    near = suggest(name, load()["layers"])
    return refuse(place, module, "cannot be said in a spec", f"Is {near} meant?" if near else _CURE_OF_A_CLASS)


def _attribute(argument: str) -> Callable[[Any, str], Any]:
    """As a rule torch keeps an argument under its name; `bias` becomes a parameter, or None."""
    return _bias if argument == "bias" else lambda module, place: _kept(module, argument, place)


def _kept(module: Any, argument: str, place: str) -> Any:
    if hasattr(module, argument):
        return getattr(module, argument)
    says = load()["layers"][name_of(module)]["args"][argument]
    if says.get("ours"):  # `returns`: nn.RNN and its kin, as they stand, hand on every step's output
        return says["default"]
    return refuse(place, module, f"does not keep its {argument}, in this version of torch", "Say it yourself: model={...}.")


def _bias(module: Any, _: str) -> bool:
    if isinstance(module.bias, bool):
        return module.bias
    # without scale and shift nobody knows whether a shift was meant; the default means the same
    affine = getattr(module, "affine", True) and getattr(module, "elementwise_affine", True)
    return module.bias is not None or not affine


def _the_one(values: Iterable[Any], what: str, module: Any, place: str) -> Any:
    """What must be the same throughout, as it comes from one argument."""
    found = list(dict.fromkeys(values))
    if len(found) != 1:
        refuse(place, module, f"was changed inside: {what} is {' and '.join(map(str, found))}", "A spec has one for the whole layer.")
    return found[0]


def _inner(module: Any, name: str) -> Iterator[Any]:
    return (each for each in module.modules() if name_of(each) == name)


def _blocks(module: Any) -> list[Any]:
    """The encoder's and decoder's layers of a Transformer; a single one is its own."""
    found = [each for each in module.modules() if name_of(each) in ("TransformerEncoderLayer", "TransformerDecoderLayer")]
    return found or [module]


def _activation(module: Any, place: str) -> str:
    """The word for relu or gelu; torch keeps the function, or the module that was given."""
    words = []
    for block in _blocks(module):
        given = block.activation
        called = getattr(given, "__name__", name_of(given).lower())
        torchs = str(getattr(given, "__module__", None) or type(given).__module__).startswith("torch")
        if called not in ("relu", "gelu") or not torchs or getattr(given, "approximate", "none") != "none":
            refuse(f"{place}.activation", module, f"is {called}, a function of its own", "A spec can say 'relu' and 'gelu'.")
        words.append(called)
    return str(_the_one(words, "activation", module, place))


_OF_A_BLOCK: dict[str, Callable[[Any, str], Any]] = {
    "d_model": lambda module, place: _the_one((each.self_attn.embed_dim for each in _blocks(module)), "d_model", module, place),
    "nhead": lambda module, place: _the_one((each.num_heads for each in _inner(module, "MultiheadAttention")), "nhead", module, place),
    "dim_feedforward": lambda module, place: _the_one(
        (each.linear1.out_features for each in _blocks(module)), "dim_feedforward", module, place
    ),
    "dropout": lambda module, place: _the_one(
        [each.p for each in _inner(module, "Dropout")] + [each.dropout for each in _inner(module, "MultiheadAttention")],
        "dropout",
        module,
        place,
    ),
    "activation": _activation,
    "layer_norm_eps": lambda module, place: _the_one((each.eps for each in _inner(module, "LayerNorm")), "layer_norm_eps", module, place),
    "batch_first": lambda module, place: _the_one(
        (each.batch_first for each in _inner(module, "MultiheadAttention")), "batch_first", module, place
    ),
    "norm_first": lambda module, place: _the_one((each.norm_first for each in _blocks(module)), "norm_first", module, place),
    "bias": lambda module, place: _the_one((each.linear1.bias is not None for each in _blocks(module)), "bias", module, place),
}
"""What a Transformer's layer hands to the modules inside it and does not keep."""

_READERS: dict[str, dict[str, Callable[[Any, str], Any]]] = {
    "MultiheadAttention": {
        "bias": lambda module, _: module.in_proj_bias is not None,
        "add_bias_kv": lambda module, _: module.bias_k is not None,
        # torch fills in embed_dim
        "kdim": lambda module, _: None if module.kdim == module.embed_dim else module.kdim,
        "vdim": lambda module, _: None if module.vdim == module.embed_dim else module.vdim,
    },
    "PairwiseDistance": {"p": lambda module, _: module.norm},
    "TransformerEncoderLayer": _OF_A_BLOCK,
    "TransformerDecoderLayer": _OF_A_BLOCK,
    "Transformer": _OF_A_BLOCK
    | {
        "num_encoder_layers": lambda module, _: len(module.encoder.layers),
        "num_decoder_layers": lambda module, _: len(module.decoder.layers),
    },
}
"""Where torch's attribute is not the argument's value under the argument's name; `bias` stands in `_bias`."""


def _without_what_follows(said: dict[str, Any]) -> dict[str, Any]:
    """A pool's stride is its kernel size unless it is given; torch fills that in."""
    has_none = load()["layers"][said["type"]]["args"].get("stride", {}).get("default", 1) is None
    return {name: value for name, value in said.items() if not (has_none and name == "stride" and value == said["kernel_size"])}
