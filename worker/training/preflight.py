"""The check of a spec before it queues, and the child process that runs it.

The child reads JSON lines, `{"parts"}` to be checked or `{"script"}` to be written as a program, and answers `{"answer"}`; it ends with its input.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from service.spec.catalog import Declared
from service.spec.checking import Parts
from service.spec.fixes import inserting, setting
from service.spec.job import JobSpec
from service.spec.lints import last_leaf
from service.spec.model import Composite, FromJob, Model, Module, Sequential, Torchvision, built, frozen, leaves
from service.spec.model import faults as model_faults
from service.spec.verdict import Checked, Fault, LayerRow, Memory, SpecWarning
from worker.training.build import UserCodeFault, build_model, build_optimizer
from worker.training.foreseen import foreseen
from worker.training.measure import Forward, forward, memory
from worker.training.samples import Sampled, sample
from worker.training.shapes import TORCH_ERRORS, Abstractly, Walk, count, first_line, walk
from worker.training.textbook import freeze
from worker.training.trials import loss_faults, metric_faults, mixing_faults, optimizer_faults, scheduler_faults

from torchvision import models  # isort: skip

MAX_PARAMETERS = 2_000_000_000


@dataclass
class Built:
    """A model on meta, or what is known of one that cannot be built: `rows`, `output` (one sample's) and the sized spec of it."""

    model: Model
    faults: list[Fault]
    unchecked: list[str]
    rows: list[LayerRow]
    module: nn.Module | None = None
    output: torch.Size | None = None

    @property
    def sound(self) -> bool:
        """Whether it is the model that the spec says, whole."""
        return self.module is not None and not self.faults and not self.unchecked


def check(body: Mapping[str, Any]) -> Checked:
    """Every fault that building and running can show, at once. Parts that cannot be read are left to those who read the whole spec."""
    parts = Parts.read(body)
    if parts.dataset is None:
        return Checked()
    sampled = sample(parts.dataset)
    faults = list(sampled.faults)
    model = _model(parts, sampled)
    if model is None:
        return Checked(errors=tuple(faults))
    faults += model.faults
    costs = _step(parts, model, sampled, faults) if model.sound and sampled.train is not None else _Costs()
    faults += _ends(parts, model, sampled)
    if parts.optimizer is not None:
        _optimizer(parts, model, costs, faults)
    return Checked(
        errors=tuple(faults),
        warnings=(*_not_checked(model), *(() if faults else _not_exported(parts, model, sampled))),
        resolved={} if faults else _resolved(parts, model),
        layers=tuple(model.rows),
        num_parameters=count(model.module) if model.module is not None else None,
        flops_per_sample=costs.flops_per_sample,
        memory_bytes=costs.memory,
    )


@dataclass
class _Costs:
    flops_per_sample: int | None = None
    memory: Memory | None = None
    batch: torch.Tensor | None = None
    passed: Forward | None = None


def _model(parts: Parts, sampled: Sampled) -> Built | None:
    """The model on meta. A list of layers that cannot all be read is checked as far as it can."""
    if sampled.train is None:
        return None
    # another number than the training batch's: a model that mixes samples shows by it
    rows = 3 if parts.batch_sizes()[0] == 2 else 2
    if parts.model is None:
        prefix = parts.readable_layers()
        if not prefix:
            return None
        found = _walked(Sequential(type="Sequential", layers=prefix), sampled.train, rows, sampled.span)
        found.unchecked.append(f"/model/layers/{len(prefix)}")
        found.output = None  # that of the layers so far, which nobody compares with a target
        return found
    if isinstance(parts.model, FromJob) and parts.model.model is None:
        return None
    if model_faults(parts.model):
        return None  # whoever reads the whole spec says so
    inner = built(parts.model)
    made = _walked(inner, sampled.train, rows, sampled.span) if isinstance(inner, Composite) else _named(parts, inner, sampled.train, rows)
    if isinstance(parts.model, FromJob):
        made.model = parts.model.model_copy(update={"model": made.model})
        made.faults = [_in_warm_start(fault) for fault in made.faults]
    if made.module is not None:
        made.faults += _frozen(parts.model, made.module)
    return made


def _walked(model: Composite, batch: torch.Tensor, rows: int, span: tuple[int, int] | None) -> Built:
    found: Walk = walk(model, sample=batch, rows=rows, span=span)
    output = found.output.shape[1:] if found.complete and found.output is not None else None
    assert isinstance(found.model, Sequential | Composite)  # noqa: S101  # a walk keeps the kind
    return Built(found.model, found.faults, found.unchecked, found.rows, found.module, output)  # type: ignore[arg-type]  # see above


def _named(parts: Parts, model: Any, batch: torch.Tensor, rows: int) -> Built:
    """A model that comes whole, of torchvision or of the user's: one fault says what it does not take."""
    assert parts.dataset is not None  # noqa: S101  # nothing is built without
    if isinstance(model, Torchvision):
        # DEFAULT is another name from one torchvision to the next: the resolved spec says which it was
        weights = models.get_model_weights(model.name)[model.weights].name if model.weights in _known_weights(model.name) else model.weights
        model = model.model_copy(update={"num_classes": model.num_classes or parts.dataset.facts.num_classes, "weights": weights})
    made = Built(model, [], [], [])
    try:
        if isinstance(model, Module):
            module = build_model(model).eval()
            table, output = _tabled(module, _made_up(rows, batch))
        else:
            with Abstractly():
                module = build_model(model).to("meta").eval()
            table, output = _tabled(module, batch.to("meta").expand(rows, *batch.shape))
    except UserCodeFault as error:
        detail, suggestion = f"Making the model failed: {error}", "Try it by hand."
        made.faults.append(Fault(pointer="/model/code", code="user_code", detail=detail, suggestion=suggestion))
        return made
    except Exception as error:  # the user's forward may raise anything at all
        if not isinstance(model, Module) and not isinstance(error, TORCH_ERRORS):
            raise
        made.faults.append(_does_not_take(model, batch, error, "/model/code" if isinstance(model, Module) else "/model"))
        return made
    made.module, made.rows, made.output = module, table, output
    return made


def _made_up(rows: int, sample: torch.Tensor) -> torch.Tensor:
    """A batch of samples like this one."""
    return torch.rand(rows, *sample.shape) if sample.is_floating_point() else torch.zeros((rows, *sample.shape), dtype=sample.dtype)


def _known_weights(name: str) -> list[str]:
    return [*models.get_model_weights(name).__members__, "DEFAULT"]


def _does_not_take(model: Any, batch: torch.Tensor, error: Exception, pointer: str) -> Fault:
    name = model.name if isinstance(model, Torchvision) else model.class_name
    detail = f"{name} cannot take samples of {list(batch.shape)}: {first_line(error)}"
    suggestion = "Its forward has to take a batch of such samples."
    if isinstance(model, Torchvision):
        suggestion = (
            "torchvision's models take three channels ({type: RGB}) and images of about 224 by 224 ({type: Resize, size: [224, 224]})."
        )
    return Fault(pointer=pointer, code="shape", detail=detail, suggestion=suggestion)


def _tabled(module: nn.Module, batch: torch.Tensor) -> tuple[list[LayerRow], torch.Size]:
    rows: list[LayerRow] = []
    names = {id(each): name for name, each in module.named_modules()}

    def note(leaf: nn.Module, _: Any, output: Any) -> None:
        first = output if isinstance(output, torch.Tensor) else next((each for each in output if isinstance(each, torch.Tensor)), batch)
        rows.append(
            LayerRow(path=names[id(leaf)], type=type(leaf).__name__, output_shape=tuple(first.shape[1:]), num_parameters=count(leaf))
        )

    hooks = [each.register_forward_hook(note) for each in module.modules() if not list(each.children())]
    try:
        with torch.no_grad():
            output = module(batch)
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(output, torch.Tensor):
        raise TypeError(f"it gives a {type(output).__name__}, where one tensor is needed")
    if output.dim() == 0 or output.shape[0] != batch.shape[0]:
        raise ValueError(f"of a batch of {batch.shape[0]} it makes {list(output.shape)}")
    if not rows or rows[-1].output_shape != tuple(output.shape[1:]):
        rows.append(LayerRow(path="", type=type(module).__name__, output_shape=tuple(output.shape[1:]), num_parameters=0))
    return rows, output.shape[1:]


def _in_warm_start(fault: Fault) -> Fault:
    return fault.model_copy(
        update={"pointer": "/model/job_id", "fix": None, "detail": f"That job's model does not fit here: {fault.detail}"}
    )


def _frozen(model: Model, module: nn.Module) -> list[Fault]:
    names = [name for name, _ in module.named_parameters()]
    found = []
    for at, prefix in enumerate(frozen(model)):
        if not any(name == prefix or name.startswith(f"{prefix}.") for name in names):
            detail = f"No parameter's name begins with `{prefix}`."
            known = ", ".join(dict.fromkeys(name.split(".")[0] for name in names))
            found.append(Fault(pointer=f"/model/freeze/{at}", code="no_match", detail=detail, suggestion=f"Names begin with: {known}."))
    freeze(module, frozen(model))
    return found


def _step(parts: Parts, model: Built, sampled: Sampled, faults: list[Fault]) -> _Costs:
    """Forward in train mode at the batch's and at the real last batch's size, and in eval mode; the first one counted."""
    assert model.module is not None  # noqa: S101  # sound
    assert sampled.train is not None  # noqa: S101  # sound
    parameters = count(model.module)
    if parameters > MAX_PARAMETERS:
        detail = f"The model has {parameters:,} parameters; {MAX_PARAMETERS:,} is the limit."
        faults.append(Fault(pointer="/model", code="too_large", detail=detail, suggestion="Use smaller layers."))
        return _Costs()
    first, last = parts.batch_sizes()
    _count_for_real(model.module)
    # not expanded from one sample: what writes in place shows on a tensor of its own only
    device = "cpu" if isinstance(built(model.model), Module) else "meta"
    costs = _Costs(batch=torch.zeros((first, *sampled.train.shape), dtype=sampled.train.dtype, device=device))
    assert costs.batch is not None  # noqa: S101  # for the reader of types
    try:
        counted = forward(model.module.train(), costs.batch)
        costs.passed, costs.flops_per_sample = counted, counted.flops // first
        if counted.output.shape != (first, *(model.output or ())):
            raise ValueError(  # noqa: TRY301  # one place says what a batch's fault is
                f"the output is {list(counted.output.shape)}, where {[first, *(model.output or ())]} was expected: samples mix"
            )
        if device == "cpu":
            _real_step(parts, model.module, counted.output)
        elif _writes_in_place(model.model):
            model.module(costs.batch).sum().backward()
        if last != first:
            first = last
            with torch.no_grad():
                model.module(costs.batch[:last])
    except Exception as error:  # the user's forward may raise anything at all
        if device != "cpu" and not isinstance(error, TORCH_ERRORS):
            raise
        faults.append(_batch_fault(first, last, error))
        return costs
    faults += _evaluates(model, sampled)
    return costs


def _real_step(parts: Parts, module: nn.Module, output: torch.Tensor) -> None:
    """Backward and a step of a custom model, whose gradients nobody knows."""
    output.sum().backward()  # type: ignore[no-untyped-call]  # torch ships it untyped
    if parts.optimizer is not None:
        build_optimizer(parts.optimizer, module).step()
    module.zero_grad()


def _count_for_real(module: nn.Module) -> None:
    """BatchNorm with momentum null reads its number of batches, which meta tensors have not."""
    for each in module.modules():
        if isinstance(getattr(each, "num_batches_tracked", None), torch.Tensor):
            each.num_batches_tracked = torch.tensor(0)


def _writes_in_place(model: Model) -> bool:
    """Whether a layer writes into its input, which only the backward pass may mind."""
    inner = built(model)
    return isinstance(inner, Composite) and any(layer.arguments().get("inplace") for _, layer in leaves(inner, ""))


def _batch_fault(rows: int, last: int, error: Exception) -> Fault:
    if "inplace" in str(error):
        detail = f"A layer with inplace: true overwrites what another needs for its gradient: {first_line(error)}"
        return Fault(pointer="/model", code="inplace", detail=detail, suggestion="Leave inplace out.")
    what = "The last batch" if rows == last else "A batch"
    detail = f"{what} has {rows} sample{'s' if rows > 1 else ''}: {first_line(error)}"
    suggestion = "Set dataloader.drop_last: true, or another batch_size."
    fix = setting("/dataloader/drop_last", value=True) if rows == last else None
    return Fault(pointer="/dataloader/batch_size", code="last_batch", detail=detail, suggestion=suggestion, fix=fix)


def _evaluates(model: Built, sampled: Sampled) -> list[Fault]:
    if sampled.evaluation is None or sampled.train is None or model.module is None or sampled.evaluation.shape == sampled.train.shape:
        return []
    try:
        with torch.no_grad():
            output = model.module.eval()(sampled.evaluation.to("meta").expand(2, *sampled.evaluation.shape))
        if output.shape[1:] == model.output:
            return []
        told = f"the output is then {list(output.shape[1:])}, and {list(model.output or ())} in training."
    except TORCH_ERRORS as error:
        told = first_line(error)
    detail = f"Without train_transforms a sample is {list(sampled.evaluation.shape)}, with them {list(sampled.train.shape)}: {told}"
    return [Fault(pointer="/dataset/train_transforms", code="sizes_differ", detail=detail, suggestion="Make both the same size.")]


def _ends(parts: Parts, model: Built, sampled: Sampled) -> list[Fault]:
    """Loss and metrics, against the model's output."""
    if model.output is None or parts.dataset is None or sampled.train is None:
        return []
    found = []
    if parts.loss is not None:
        last, at, outputs = _last(model)
        found += loss_faults(parts.loss, parts.dataset, output=model.output, sample=sampled.train.shape, last=last, at=at, outputs=outputs)
        if parts.dataset.batch_transforms and not found:
            found += mixing_faults(parts.loss, parts.dataset, output=model.output, sample=sampled.train, at=at, outputs=outputs)
        found = [_flattened(fault, model) for fault in found]
    if parts.metrics and not found:
        found += metric_faults(parts.metrics, parts.dataset, output=model.output, sample=sampled.train.shape)
    return found


def _flattened(fault: Fault, model: Built) -> Fault:
    """What is wrong with an output of several dimensions is mended before the first Linear."""
    if fault.code != "wrong_output" or fault.fix is not None or len(model.output or ()) < 2 or not isinstance(model.model, Sequential):
        return fault
    kinds = [layer.type for layer in model.model.layers]
    if "Linear" not in kinds or "Flatten" in kinds:
        return fault
    return fault.model_copy(update={"fix": inserting(f"/model/layers/{kinds.index('Linear')}", "Flatten")})


def _last(model: Built) -> tuple[str, str, str | None]:
    """The type of the model's last layer ("" where nobody can know), the pointer of what makes its output, and of how many numbers it has."""
    if isinstance(model.model, FromJob):
        return "", "/model/job_id", None
    if isinstance(model.model, Torchvision):
        return "Linear", "/model/num_classes", "/model/num_classes"
    if not isinstance(model.model, Composite):
        return "", "/model/code", None
    found = last_leaf(model.model, "/model")
    if found is None:
        return "", "/model", None
    layers = model.model.layers if isinstance(model.model, Sequential) else ()
    # a wrong number of outputs is cured at the last Linear, whatever comes after it
    at = max((at for at, layer in enumerate(layers) if layer.type == "Linear"), default=None)
    is_inner = isinstance(found[1], Declared) and found[1].type != "Linear" and at is not None and len(model.output or ()) == 1
    pointer = f"/model/layers/{at}" if is_inner else found[0]
    return found[1].type, pointer, f"{pointer}/out_features" if is_inner or found[1].type == "Linear" else None


def _optimizer(parts: Parts, model: Built, costs: _Costs, faults: list[Fault]) -> None:
    assert parts.optimizer is not None  # noqa: S101  # asked before
    found, tiny = optimizer_faults(parts.optimizer, model.module if not model.unchecked else None)
    faults += found
    if tiny is None:
        return
    if model.module is not None and costs.passed is not None and costs.batch is not None:
        averaged = parts.training.ema_decay is not None
        costs.memory = memory(model.module, tiny, passed=costs.passed, batch=costs.batch, averaged=averaged)
    if parts.lr_scheduler is not None:
        scheduler, wrong = parts.timed_scheduler()
        faults += wrong or scheduler_faults(scheduler, parts.optimizer, tiny)


def _not_checked(model: Built) -> list[SpecWarning]:
    if not model.unchecked:
        return []
    detail = "These layers were not checked, because no output of those before them is known."
    if len(model.unchecked) > 1:
        detail += f" They are: {', '.join(model.unchecked)}."
    return [SpecWarning(pointer=model.unchecked[0], code="not_checked", detail=detail, suggestion="Mend the faults before them first.")]


def _not_exported(parts: Parts, model: Built, sampled: Sampled) -> list[SpecWarning]:
    if parts.dataset is None or not parts.export:
        return []
    return foreseen(parts.export, model.module if model.sound else None, parts.dataset, sampled.evaluation)


def _resolved(parts: Parts, model: Built) -> dict[str, Any]:
    resolved: dict[str, Any] = {"model": model.model.model_dump(mode="json")}
    if parts.lr_scheduler is not None:
        resolved["lr_scheduler"] = parts.timed_scheduler()[0].model_dump(mode="json")
    return resolved


def main() -> None:
    """Answer requests until the input ends, in no more address space than the argument says."""
    if len(sys.argv) > 1:
        resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
    torch.set_num_threads(1)
    # what the check says goes to the parent; what torch and others print goes elsewhere
    answers, sys.stdout = sys.stdout, sys.stderr
    check(WARM_UP)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps({"answer": _answer(json.loads(line))}), file=answers, flush=True)


def _answer(question: Mapping[str, Any]) -> Any:
    if "script" not in question:
        return check(question["parts"]).model_dump(mode="json", exclude_computed_fields=True)
    from worker.training.environment import environment
    from worker.training.script import render

    spec = JobSpec.model_validate(question["script"])
    return render(spec, environment(threads=spec.resources.threads or 1, device=torch.device("cpu")))


WARM_UP = {
    "dataset": "MNIST",
    "model": {"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "out_features": 10}]},
    "loss": "CrossEntropyLoss",
    "optimizer": "SGD",
    "evaluation": {"metrics": ["F1Score"]},
}
"""The first check imports what the later ones need: seconds."""


if __name__ == "__main__":
    main()
