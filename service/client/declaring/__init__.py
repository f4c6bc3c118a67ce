"""`from_torch`: a spec from a real `nn.Sequential`, loss and optimizer. Reads the objects that it is given; never imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from service.client.errors import CannotDeclare


def from_torch(
    model: Any,
    loss: Any,
    optimizer: Any,
    *,
    dataset: str | Mapping[str, Any],
    epochs: int,
    lr_scheduler: Any = None,
    interval: Literal["step", "epoch"] | None = None,
    monitor: str | None = None,
    dataloader: Any = None,
    eval_dataloader: Any = None,
    allow_source: bool = False,
    source_arguments: Mapping[str, Any] | None = None,
    **rest: Any,
) -> dict[str, Any]:
    """The spec that trains a model like this one, short: what is as by default is left out.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    >>> spec = from_torch(model, nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=0.01), dataset="MNIST", epochs=5)
    >>> job = client.submit(spec).wait()

    The job does not start from the weights that `model` has now, nor from what `optimizer` has gathered: its weights are drawn anew from
    `seed` (0, where none is given), as `torch.manual_seed(seed)` before making the model draws them.

    - `model`: an `nn.Sequential`, nested as you like, of the layers that the catalog has, or a Graph of `worker.training.textbook`. Layers with
      names become a Graph, so that the weights keep theirs. nn.LSTM and its kin hand on every step's output. A class of your own is sent as
      source with `allow_source=True`, its constructor's arguments as `source_arguments`.
    - `dataset`: as in a spec: "MNIST", {"type": "Upload", "name": "flowers"}, ...
    - `lr_scheduler`: a schedule of torch. `interval` says how often it steps, where not as usual; `monitor` what ReduceLROnPlateau watches.
    - `dataloader`, `eval_dataloader`: DataLoaders, of which batch_size, shuffle, num_workers and drop_last are read.
    - `rest`: any other part of a spec: name, labels, seed, training, checkpoint, evaluation, export, resources.

    Every part may also be given as a spec has it, a dict or a word. Raises CannotDeclare for what no spec can say - hooks, shared layers, classes
    and functions of your own, weights on a device -, with its place and the cure.
    """
    from service.client.declaring.loaders import evaluation_loader, training_loader
    from service.client.declaring.schedules import cycles, schedule_of
    from service.client.declaring.training import is_fused, loss_of, optimizer_of

    _check_rest(rest)
    scheduled = lr_scheduler is not None and not _is_said(lr_scheduler)
    built = None if _is_said(model) or allow_source else model
    spec: dict[str, Any] = {
        "dataset": _dataset(dataset),
        "model": _model(model, allow_source=allow_source, arguments=source_arguments or {}),
        "loss": loss if _is_said(loss) else loss_of(loss),
        "optimizer": optimizer if _is_said(optimizer) else optimizer_of(optimizer, built, cycles=scheduled and cycles(lr_scheduler)),
        "epochs": epochs,
    }
    if lr_scheduler is not None:
        spec["lr_scheduler"] = _timed(schedule_of(lr_scheduler) if scheduled else lr_scheduler, interval, monitor)
    loading = dict(dataloader) if isinstance(dataloader, Mapping) else {} if dataloader is None else training_loader(dataloader)
    loading |= {} if eval_dataloader is None else evaluation_loader(eval_dataloader)
    spec |= {"dataloader": loading} if loading else {}
    if not _is_said(optimizer) and is_fused(optimizer):
        rest["training"] = {**rest.get("training", {}), "fused": True}
    return spec | rest


def _is_said(part: Any) -> bool:
    """Whether a part is given as a spec has it."""
    return isinstance(part, str | Mapping)


def _model(model: Any, *, allow_source: bool, arguments: Mapping[str, Any]) -> Any:
    from service.client.declaring.layers import is_declarable, model_of
    from service.client.declaring.objects import refuse
    from service.client.declaring.source import module_of

    if _is_said(model):
        return model
    if type(model).__module__.startswith("torchvision."):
        cure = "Name it: model={'type': 'torchvision', 'name': 'resnet18', 'num_classes': 10}."
        refuse("model", model, "is torchvision's, and does not tell how it was made", cure)
    if not hasattr(model, "named_modules"):
        refuse("model", model, "is no nn.Module", "Give an nn.Sequential.")
    if is_declarable(model):
        return model_of(model)
    if not allow_source:
        cure = "Give allow_source=True to send its source, which then runs contained, or say it yourself: model={'type': 'Module', ...}."
        refuse("model", model, "is a class of your own", cure)
    return module_of(model, arguments)


def _dataset(dataset: Any) -> Any:
    from service.client.declaring.objects import name_of, refuse
    from service.spec.catalog import load

    if _is_said(dataset):
        return dataset
    known = name_of(dataset) in load()["datasets"]
    cure = (
        f'Give dataset="{name_of(dataset)}", with its transforms as a spec has them.' if known else "Upload the data, and name the upload."
    )
    return refuse("dataset", dataset, "is an object, and a spec has names of data sets", cure)


def _timed(said: Any, interval: str | None, monitor: str | None) -> Any:
    more = {name: value for name, value in (("interval", interval), ("monitor", monitor)) if value is not None}
    return {**({"type": said} if isinstance(said, str) else said), **more} if more else said


def _check_rest(rest: Mapping[str, Any]) -> None:
    from service.spec.catalog import suggest
    from service.spec.job import JobSpec

    for name in rest:
        if name not in JobSpec.model_fields:
            near = suggest(name, JobSpec.model_fields)
            raise CannotDeclare(
                f"A spec has no part {name!r}. " + (f"Is {near} meant?" if near else f"It has {', '.join(JobSpec.model_fields)}.")
            )
