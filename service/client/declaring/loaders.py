"""From DataLoader objects to the `dataloader` part."""

from __future__ import annotations

from typing import Any

from service.client.declaring.objects import is_torchs, name_of, refuse

_SAMPLERS = {"RandomSampler": True, "SequentialSampler": False}
"""Whether a sampler shuffles."""
_BATCH_SIZE, _EVAL_BATCH_SIZE = 64, 512
"""The spec's defaults, as `service.spec.training.DataLoader` has them; the tests hold that."""


def training_loader(loader: Any) -> dict[str, Any]:
    """What the training loader says beyond the defaults. Raises CannotDeclare.

    What only loads faster (pin_memory, prefetch_factor, persistent_workers) is the worker's choice; `generator` is seeded with the spec's seed.
    """
    _check(loader, "dataloader")
    sampler = loader.sampler
    shuffles = _SAMPLERS.get(name_of(sampler))
    if shuffles is None or getattr(sampler, "replacement", False) or getattr(sampler, "_num_samples", None) is not None:
        cure = "A spec can say shuffle: true or false, or dataloader={'sampler': 'WeightedRandomSampler'} with weights of classes."
        refuse("dataloader", loader, f"draws by a {name_of(sampler)} in a way of its own", cure)
    said = {
        "batch_size": loader.batch_size,
        "shuffle": shuffles,
        "num_workers": loader.num_workers,
        "drop_last": loader.drop_last,
    }
    usual = {"batch_size": _BATCH_SIZE, "shuffle": True, "num_workers": 0, "drop_last": False}
    return {name: value for name, value in said.items() if value != usual[name]}


def evaluation_loader(loader: Any) -> dict[str, Any]:
    """What the loader that evaluates says beyond the defaults: its batch size. Raises CannotDeclare."""
    _check(loader, "eval_dataloader")
    return {} if loader.batch_size == _EVAL_BATCH_SIZE else {"eval_batch_size": loader.batch_size}


def _check(loader: Any, place: str) -> None:
    if name_of(loader) != "DataLoader" or not is_torchs(loader, "torch.utils.data"):
        refuse(place, loader, "is no DataLoader of torch's", "Give one, or dataloader={'batch_size': 64, 'eval_batch_size': 512}.")
    if loader.batch_size is None or not is_torchs(loader.batch_sampler, "torch.utils.data"):
        refuse(place, loader, "makes its batches by a sampler of your own", "Give it a batch_size.")
    if getattr(loader.collate_fn, "__name__", "") != "default_collate" or not loader.collate_fn.__module__.startswith("torch."):
        refuse(place, loader, "joins samples by a function of your own", "Leave collate_fn out.")
    if loader.worker_init_fn is not None:
        refuse(place, loader, "starts its processes by a function of your own", "Leave worker_init_fn out.")
