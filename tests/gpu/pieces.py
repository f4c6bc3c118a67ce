"""The pieces: each asks for jobs, raises Failed where a promise is not kept, and answers its figures as (what, figure)."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from tests.gpu.ground import PATIENCE_SECONDS, Failed, Ground, Trained, until_idle
from tests.gpu.table import table
from worker.training.plan import why_not_compiled

__all__ = ["PIECES", "Failed", "Ground"]
Rows = list[tuple[str, str]]
LOSS_SHARE, POINTS = 0.05, 0.02
"""What other rounding may make of a loss, and of an accuracy over 360 test samples (7 of them)."""
EPOCHS = 6
PER_EPOCH = 21
"""Steps: 1,294 samples in batches of 64."""
LAYERS: list[Any] = [
    {"type": "Conv2d", "out_channels": 32, "kernel_size": 3, "padding": 1},
    "BatchNorm2d",
    "ReLU",
    {"type": "MaxPool2d", "kernel_size": 2},
    "Flatten",
    {"type": "Dropout", "p": 0.2},
    {"type": "Linear", "out_features": 10},
]
CNN: dict[str, Any] = {
    "seed": 7,
    "dataset": {"type": "Digits", "validation_split": 0.1},
    "dataloader": {"batch_size": 64},
    "model": {"type": "Sequential", "layers": LAYERS},
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "AdamW", "lr": 0.003},
    "epochs": EPOCHS,
}
TURNED = [{"type": "RandomAffine", "degrees": 10}]


def holds(kept: bool, otherwise: str) -> None:
    """Raises Failed."""
    if not kept:
        raise Failed(otherwise)


def gap(one: Trained, other: Trained) -> float:
    """The largest difference between two numbers of the weights."""
    theirs = other.weights
    return max((tensor.double() - theirs[name].double()).abs().max().item() for name, tensor in one.weights.items())


def alike(exact: Trained, other: Trained, what: str) -> str:
    """Losses and accuracies of both, which have to be near. Raises Failed."""
    (loss, accuracy), (its_loss, its_accuracy) = ((each.scores["test_loss"], each.scores["test_accuracy"]) for each in (exact, other))
    told = f"test loss {its_loss:.4f} ({loss:.4f}), accuracy {its_accuracy:.4f} ({accuracy:.4f})"
    last, its_last = (each.rows[-1].metrics["train_loss"] for each in (exact, other))
    # the loss of 360 samples that are nearly all right hangs on a few: the training loss is the steadier one
    near = abs(its_last - last) <= max(LOSS_SHARE * last, 0.01) and abs(its_accuracy - accuracy) <= POINTS
    holds(near, f"{what} is too far from float32: {told}, train loss {its_last:.4f} ({last:.4f})")
    return told


def devices(ground: Ground) -> Rows:
    """The worker's parent knows the GPUs without torch; a job on a warm trainer, and on a cold one, takes its first step."""
    code = "import sys, worker.main; from worker.gpus import visible; import os; print(len(visible(os.environ)), 'torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    holds(told == [str(len(ground.gpus)), "False"], f"the parent saw {told}")
    ground.train(CNN | {"epochs": 1})  # decodes the data
    until_idle(ground.keeper._spares[ground.gpus[0].id].pid)  # to look at a spare, and to end one, is what is wanted
    warm = ground.train(CNN | {"epochs": 1})
    holds(ground.rehearsed or warm.environment["device_name"] is not None, "the job did not run on a GPU")
    spare = ground.keeper._spares.pop(ground.gpus[0].id)
    spare.kill()
    spare.close()
    cold = ground.train(CNN | {"epochs": 1})
    return [
        ("GPUs", "; ".join(f"{gpu.index}: {gpu.name}, {gpu.id}" for gpu in ground.gpus)),
        ("order to first step, warm trainer", f"{warm.first_step_ms:.0f} ms"),
        ("order to first step, new CUDA context", f"{cold.first_step_ms:.0f} ms"),
    ]


def training(ground: Ground) -> Rows:
    """The same spec twice gives equal bits, with deterministic operators; the numbers are a CPU's but for rounding; memory is told."""
    first, second = (ground.train(CNN) for _ in range(2))
    holds(gap(first, second) == 0, f"two trainings of one spec differ by {gap(first, second):.3g}")
    holds(first.scores["test_accuracy"] > 0.9, f"it learnt little: {first.scores}")
    peak = first.rows[-1].metrics.get("peak_memory_bytes", 0)
    holds(peak > 0, "no peak memory was told")
    lacking = [code for code in first.warned if code == "not_deterministic"]
    return [
        ("float32, deterministic, twice", f"equal bits; operators without a deterministic form: {len(lacking)}"),
        ("test accuracy", f"{first.scores['test_accuracy']:.4f}"),
        ("peak memory", f"{peak / 2**20:.1f} MiB"),
    ]


def precision(ground: Ground) -> Rows:
    """bfloat16 and float16 with its scaler learn what float32 learns; auto decides for one plan, and says which."""
    exact = ground.train(CNN)
    rows = [
        (f"{name} (float32 in brackets)", alike(exact, ground.train(CNN | {"training": {"precision": name}}), name))
        for name in ("bfloat16", "float16")
    ]
    auto = ground.train(CNN | {"training": {"precision": "auto", "deterministic": False}})
    chosen = next(fact for fact in auto.facts if type(fact).__name__ == "PlanChosen")
    alike(exact, auto, "auto")
    return [*rows, ("auto", f"{chosen.plan}; {'; '.join(chosen.measured)}")]  # type: ignore[union-attr]  # named above


GRAPHS: dict[str, dict[str, Any]] = {
    "reduce-overhead": {},
    "reduce-overhead, 2 batches a step, clipped": {"gradient_accumulation_steps": 2, "clip_grad_norm": 1.0},
    "reduce-overhead, float16, 2 batches a step, clipped": {
        "gradient_accumulation_steps": 2,
        "clip_grad_norm": 1.0,
        "precision": "float16",
        "ema_decay": 0.5,
    },
}


def compiling(ground: Ground) -> Rows:
    """Compiled, and with CUDA graphs, a model learns the same; the last, smaller batch too, and steps of several batches. So does train.py."""
    rows = []
    plans = {"true": {"compile": True}, **{name: {"compile": "reduce-overhead"} | how for name, how in GRAPHS.items()}}
    exact: dict[str, Trained] = {}
    for name, how in plans.items():
        apart = {key: how[key] for key in ("gradient_accumulation_steps", "clip_grad_norm", "ema_decay") if key in how}
        if str(apart) not in exact:
            exact[str(apart)] = ground.train(CNN | {"training": apart})
        started = time.monotonic()
        trained = ground.train(CNN | {"training": how})
        holds("not_compiled" not in trained.warned, f"compile: {name} was not done: {trained.warned}")
        told = alike(exact[str(apart)], trained, f"compile: {name}")
        rows.append((f"compile: {name}", f"{told}; whole job {time.monotonic() - started:.0f} s"))
        if name == "reduce-overhead":
            rows.append(("its train.py, on this machine's CPU", _program(trained)))
    return rows


def _program(trained: Trained) -> str:
    """What the job's train.py prints, beside the job. It has no GPU in it: there graphs are not recorded, wherever it runs. Raises Failed."""
    if (lacking := why_not_compiled(torch.device("cpu"))) is not None:
        return f"not shown: {lacking}"
    command = [sys.executable, "train.py", "--out", "again.safetensors"]
    ran = subprocess.run(command, cwd=trained.folder, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    holds(ran.returncode == 0, f"train.py ended with {ran.returncode}: {ran.stderr[-500:]}")
    losses = re.findall(r"train_loss ([\d.]+)", ran.stdout)
    its, own = float(losses[-1]), trained.rows[-1].metrics["train_loss"]
    holds(abs(its - own) <= max(LOSS_SHARE * own, 0.01), f"train.py's training loss is {its:.4f}, the job's {own:.4f}")
    return f"train loss {its:.4f} ({own:.4f})"


def resuming(ground: Ground) -> Rows:
    """From a checkpoint within an epoch a job ends with equal bits, whatever draws and is kept; also with float16's scaler."""
    rows = []
    kinds: dict[str, dict[str, Any]] = {
        "float32, Dropout, BatchNorm, augmentation, average": {"ema_decay": 0.95, "gradient_accumulation_steps": 2},
        "float16 with its scaler": {"precision": "float16", "clip_grad_norm": 1.0},
    }
    for name, how in kinds.items():
        body = CNN | {"dataset": CNN["dataset"] | {"train_transforms": TURNED}, "training": how, "checkpoint": {"every_n_steps": 5}}
        steps = -(-PER_EPOCH // how.get("gradient_accumulation_steps", 1))
        whole = ground.train(body)
        resume = whole.midway(steps)
        again = ground.train(body, resume=resume)
        holds(gap(whole, again) == 0, f"{name}: gone on with from step {resume['step']} it differs by {gap(whole, again):.3g}")
        rows.append((name, f"equal bits from step {resume['step']} on"))
    return rows


REHEARSED_BYTES = 3 * 2**30
BATCH = 1024
BLOCKS = 24
"""Of ReLU and Dropout: enough of them, and no tensor has more than 2^31 numbers, whatever memory there is."""


def memory(ground: Ground) -> Rows:
    """A job that needs more than the GPU has ends by torch's allocator error, and goes on with half the batch, twice the accumulation."""
    size, space = ground.gpus[0].memory_bytes or 0, None
    if ground.rehearsed:
        size, space = REHEARSED_BYTES, _address_space(ground) + REHEARSED_BYTES
    job = ground.run_alone(_wide(int(1.35 * size / (_bytes_held(ground) * BATCH)), BATCH), address_space=space)
    reasons = [step["reason"] for step in job["transitions"] if step["reason"]]
    holds(reasons == ["out_of_memory"], f"it did not run out of memory once: {reasons}, {job['error']}")
    holds(job["state"] == "succeeded", f"the second attempt did not succeed: {job['error']}")
    loader, accumulated = job["resolved_spec"]["dataloader"], job["resolved_spec"]["training"]["gradient_accumulation_steps"]
    holds((loader["batch_size"], accumulated) == (BATCH // 2, 2), f"it went on with {loader}, {accumulated}")
    peak = job["metrics"].get("peak_memory_bytes", 0)
    told = f"out_of_memory, then succeeded with half the batch; peak {peak / 2**30:.2f} GiB of {size / 2**30:.1f}"
    return [("a step larger than the memory", told)]


def _wide(width: int, batch: int) -> dict[str, Any]:
    """A job of one step, or two, that holds so many numbers for each sample, many times over."""
    layers = [
        "Flatten",
        {"type": "Linear", "out_features": width},
        {"type": "Repeat", "times": BLOCKS, "layers": ["ReLU", {"type": "Dropout", "p": 0.1}]},
        {"type": "Linear", "out_features": 10},
    ]
    return CNN | {
        "dataset": {"type": "Digits", "limit": batch},
        "dataloader": {"batch_size": batch, "eval_batch_size": 64},
        "model": {"type": "Sequential", "layers": layers},
        "optimizer": {"type": "SGD", "lr": 0.001},
        "epochs": 1,
        "resources": {"device": "gpu", "threads": 1, "max_retries": 1},
    }


def _bytes_held(ground: Ground) -> float:
    """For each of those numbers, at the fullest: what two small batches differ by."""
    width, small, large = 4096, 128, 512
    less, more = (ground.train(_wide(width, batch)).rows[-1].metrics["peak_memory_bytes"] for batch in (small, large))
    return (more - less) / (width * (large - small))


def _address_space(ground: Ground) -> int:
    """Of a trainer that has nothing to do, in bytes."""
    trainer = ground.keeper.spawn()
    with open(f"/proc/{trainer.pid}/status") as status:  # noqa: PTH123  # the kernel's
        kibibytes = next(int(line.split()[1]) for line in status if line.startswith("VmSize"))
    trainer.kill()
    trainer.close()
    return kibibytes * 1024


def accounting(ground: Ground) -> Rows:
    """Jobs at the same time have a GPU each, and see no other."""
    ids = [gpu.id for gpu in ground.gpus]
    begun = [ground.begin(CNN, [each]) for each in ids]
    seen = [ground.collect(each).environment["variables"]["CUDA_VISIBLE_DEVICES"] for each in begun]
    holds(seen == ids, f"jobs that were given {ids} saw {seen}")
    return [("jobs at once, each on a GPU of its own", str(len(ids)))]


def several(ground: Ground) -> Rows:
    """A job on two GPUs is a job on one, within rounding; it resumes to equal bits; a process that is killed ends the attempt."""
    whole_gpus = [gpu for gpu in ground.gpus if not gpu.is_slice]
    if len(whole_gpus) < 2:
        return [("two GPUs for one job", "not shown: this machine has not two GPUs")]
    # on the CPU torch has no SyncBatchNorm
    layers = [each for each in LAYERS if each != "BatchNorm2d" or not ground.rehearsed]
    body = CNN | {"model": {"type": "Sequential", "layers": layers}, "checkpoint": {"every_n_steps": 5}}
    one, two = ground.train(body), ground.train(body, gpus=2)
    told = alike(one, two, "two GPUs")
    again = ground.train(body, gpus=2, resume=two.midway(PER_EPOCH))
    holds(gap(two, again) == 0, f"gone on with on two GPUs it differs by {gap(two, again):.3g}")
    trainer, taken = ground.begin(body | {"epochs": 1000}, [gpu.id for gpu in whole_gpus[:2]])
    first = next(line for line in iter(trainer.facts.readline, b"") if b"FirstStepDone" in line)
    holds(bool(first), "no step was taken")
    trainer._trainers[1].kill()  # type: ignore[attr-defined]  # of a crew, the one that does not lead
    ended = time.monotonic()
    ground.collect((trainer, taken))
    return [
        ("two GPUs (one in brackets)", f"{told}; weights differ by {gap(one, two):.2g} at most"),
        ("gone on with on two GPUs", "equal bits"),
        ("a killed process ends the attempt", f"after {time.monotonic() - ended:.1f} s"),
    ]


PIECES: dict[str, Callable[[Ground], Rows]] = {
    "devices": devices,
    "training": training,
    "precision": precision,
    "compile": compiling,
    "resume": resuming,
    "memory": memory,
    "accounting": accounting,
    "several": several,
    "table": partial(table, holds=holds),
}
