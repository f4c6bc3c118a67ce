"""A training's whole state in a folder: weights as safetensors, the rest loadable with `weights_only=True`, a JSON head. Never a pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, cast

import torch
from safetensors.torch import load_file

from service.killpoints import KillPoint, passing
from worker.training.environment import changes, hardware
from worker.training.epochs import place_of, samples_done
from worker.training.files import Hashed, save_weights, write_safetensors
from worker.training.loop import Run
from worker.training.plan import Plan


@dataclass(frozen=True)
class Snapshot:
    """The state at a step boundary. Its tensors are the training's own: who keeps it beyond the next step copies them."""

    epoch: int
    step: int
    weights: dict[str, torch.Tensor]
    average: dict[str, torch.Tensor] | None
    best_weights: dict[str, torch.Tensor] | None
    state: dict[str, Any]
    hardware: dict[str, Any]
    plan: dict[str, Any]


def snapshot(run: Run) -> Snapshot:
    """Everything that going on to the same bits needs: optimizer, position, data order, random state."""
    position = {name: value for name, value in vars(run.position).items() if name != "best_weights"}
    # an epoch that is over left its draws in the generator; one under way is drawn again from its start
    position["loader_state"] = run.order.generator.get_state() if run.position.batch == 0 else run.position.loader_state
    done = samples_done(run.spec, len(run.splits.train), run.position.epoch, run.position.batch)
    state = {
        "position": position,
        "tally": run.tally.state_dict(),
        "batch_size": run.spec.dataloader.batch_size,
        "samples_done": done,
        "optimizer": run.optimizer.state_dict(),
        "rng": torch.get_rng_state(),
    }
    if run.scaler.is_enabled():
        state["scaler"] = run.scaler.state_dict()
    if run.scheduler is not None:
        state["scheduler"] = run.scheduler.state_dict()
    if run.device.type == "cuda":
        state["cuda_rng"] = torch.cuda.get_rng_state(run.device)
    average = None
    if run.average is not None:
        state["averaged"], average = run.average.n_averaged, run.average.module.state_dict()
    return Snapshot(
        epoch=run.position.epoch,
        step=run.position.step,
        weights=run.model.state_dict(),
        average=average,
        best_weights=run.position.best_weights,
        state=state,
        hardware=hardware(run.device),
        plan=asdict(run.plan),
    )


def write(taken: Snapshot, folder: Path) -> list[dict[str, Any]]:
    """Write a snapshot; returns its files as {path, size, sha256}."""
    folder.mkdir(parents=True)
    files = [_weights(taken.weights, folder / "model.safetensors")]
    passing(KillPoint.CHECKPOINT_HALF_WRITTEN)
    for name, tensors in (("average", taken.average), ("best", taken.best_weights)):
        if tensors is not None:
            files.append(_weights(tensors, folder / f"{name}.safetensors"))
    with Hashed(folder / "state.pt") as file:
        torch.save(taken.state, cast("IO[bytes]", file))
    files.append(file.described())
    with Hashed(folder / "checkpoint.json") as file:
        head = {"epoch": taken.epoch, "step": taken.step, "hardware": taken.hardware, "plan": taken.plan}
        file.write(json.dumps(head).encode())
    return sorted([*files, file.described()], key=lambda each: each["path"])


def _weights(tensors: Mapping[str, torch.Tensor], path: Path) -> dict[str, Any]:
    with Hashed(path) as file:
        write_safetensors(tensors, file.write)
    return file.described()


def load_initial(model: torch.nn.Module, file: Path, *, whole: bool) -> None:
    """Start from these weights. Of published ones (not `whole`) those that do not fit, the head's, are left as the seed drew them.

    Raises RuntimeError where a whole model's weights do not fit.
    """
    if whole:
        model.load_state_dict(load_file(file))
        return
    model.load_state_dict(_fitting(model, file), strict=False)


def save_initial(model: torch.nn.Module, file: Path, target: Path) -> None:
    """What `load_initial` took of a file, as safetensors: train.py starts from it."""
    save_weights(_fitting(model, file), target)


def _fitting(model: torch.nn.Module, file: Path) -> dict[str, torch.Tensor]:
    given = load_file(file) if file.suffix == ".safetensors" else torch.load(file, weights_only=True, map_location="cpu")
    own = model.state_dict()
    return {name: tensor for name, tensor in given.items() if name in own and own[name].shape == tensor.shape}


def restore(run: Run, folder: Path) -> None:
    """Put a checkpoint's state back into a freshly built run; the next step gives the bits that an undisturbed run gives."""
    run.model.load_state_dict(load_file(folder / "model.safetensors"))
    state = torch.load(folder / "state.pt", weights_only=True, map_location="cpu")
    run.optimizer.load_state_dict(state["optimizer"])
    if run.scheduler is not None:
        run.scheduler.load_state_dict(state["scheduler"])
    if run.scaler.is_enabled():
        run.scaler.load_state_dict(state["scaler"])
    if run.average is not None:
        run.average.module.load_state_dict(load_file(folder / "average.safetensors"))
        run.average.n_averaged.copy_(state["averaged"])
    for name, value in state["position"].items():
        setattr(run.position, name, value)
    run.tally.load_state_dict(state["tally"])
    if state.get("batch_size", run.spec.dataloader.batch_size) != run.spec.dataloader.batch_size:
        run.position.batch, run.position.trimmed = place_of(run.spec, len(run.splits.train), run.position.epoch, state["samples_done"])
    best = folder / "best.safetensors"
    run.position.best_weights = load_file(best) if best.exists() else None
    run.order.generator.set_state(state["position"]["loader_state"])
    torch.set_rng_state(state["rng"])
    if "cuda_rng" in state:
        torch.cuda.set_rng_state(state["cuda_rng"], run.device)


def plan_of(folder: Path) -> Plan:
    """The arithmetic that a checkpoint's training was done in."""
    return Plan(**json.loads((folder / "checkpoint.json").read_text())["plan"])


def hardware_changes(folder: Path, device: torch.device) -> list[str]:
    """What of the hardware and versions is not as it was where the checkpoint was written."""
    head = json.loads((folder / "checkpoint.json").read_text())
    return changes(head.get("hardware", {}), device)
