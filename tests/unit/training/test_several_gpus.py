"""Trainers that train one model together, on the CPU by gloo: weights and numbers of one trainer, within rounding; and what tells when one is lost."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tests.checking import checked, resolved
from worker.crew import Crew
from worker.training.drawing import WholeBatch, twin
from worker.training.facts import CheckpointWritten, EpochDone, Fact, Failed, StepsLogged, Succeeded, from_line
from worker.training.ranks import Ranks
from worker.training.rehearsal import REHEARSAL
from worker.zygote import Trainer, Zygote

TOLERANCE = 2e-6
"""Of each weight, and of each loss: adding up in another order came to a tenth of it at most."""
_HEAD: list[Any] = ["Flatten", {"type": "Linear", "out_features": 32}, "ReLU", {"type": "Linear", "out_features": 10}]
_CNN: list[Any] = [
    {"type": "Conv2d", "out_channels": 8, "kernel_size": 3, "padding": 1},
    "ReLU",
    {"type": "Dropout2d", "p": 0.1},
    {"type": "FractionalMaxPool2d", "kernel_size": 2, "output_size": 5},
    "Flatten",
    {"type": "AlphaDropout", "p": 0.2},
    {"type": "Dropout", "p": 0.3},
    {"type": "Linear", "out_features": 10},
]
_SHARED: dict[str, Any] = {
    "seed": 5,
    # 201 samples train, 22 are held out: batches of 8 leave one sample for the last, batches of 7 five
    "dataset": {"type": "Digits", "limit": 223, "validation_split": 0.1},
    "dataloader": {"batch_size": 8},
    "model": {"type": "Sequential", "layers": _HEAD},
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "SGD", "lr": 0.05, "momentum": 0.9},
    "epochs": 2,
    "training": {"log_every_n_steps": 1},
    "resources": {"threads": 1, "device": "gpu"},
}
_MIXED = {"batch_transforms": ["MixUp"], "train_transforms": [{"type": "RandomAffine", "degrees": 15}]}
JOBS: dict[str, dict[str, Any]] = {
    "mlp, one sample in the last batch": _SHARED,
    "cnn with every kind of dropout": _SHARED
    | {"model": {"type": "Sequential", "layers": _CNN}, "dataloader": {"batch_size": 7}, "optimizer": {"type": "AdamW", "lr": 0.003}},
    "accumulation, clipping, average, schedules, best": _SHARED
    | {
        "model": {"type": "Sequential", "layers": _CNN},
        "dataloader": {"batch_size": 7},
        "lr_scheduler": {"type": "ReduceLROnPlateau", "patience": 1, "monitor": "val_loss"},
        "training": {
            "ema_decay": 0.9,
            "gradient_accumulation_steps": 4,
            "clip_grad_norm": 0.5,
            "clip_grad_value": 0.05,
            "early_stopping": {"monitor": "val_loss", "patience": 1, "min_delta": 0.5},
        },
        "checkpoint": {"monitor": "val_accuracy", "mode": "max"},
        "epochs": 4,
    },
    "mixed and augmented": _SHARED | {"dataset": _SHARED["dataset"] | _MIXED, "dataloader": {"batch_size": 7, "num_workers": 1}},
    "a sum as the loss, weighted sampling, a batch left out": _SHARED
    | {
        "loss": {"type": "CrossEntropyLoss", "reduction": "sum"},
        "optimizer": {"type": "SGD", "lr": 0.005},
        "dataloader": {"batch_size": 8, "sampler": "WeightedRandomSampler"},
        "training": {"skip_batches": [[0, 3]]},
    },
}


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    """What all trainers here are forked from; it has them compute on the CPU."""
    os.environ[REHEARSAL] = "1"
    try:
        started = Zygote.start()
    finally:
        del os.environ[REHEARSAL]
    yield started
    started.close()


def train(zygote: Zygote, body: dict[str, Any], count: int, folder: Path, resume: dict[str, Any] | None = None) -> list[Fact]:
    """Everything that so many trainers tell of a job."""
    spec = resolved(body | {"resources": body["resources"] | {"gpus": count}}).model_dump(mode="json")
    folder.mkdir()
    trainers = [zygote.spawn() for _ in range(count)]
    crew: Trainer = Crew(trainers) if count > 1 else trainers[0]
    cache = {"folder": str(folder.parent / "cache"), "limit_bytes": 2**30}
    order = {"job_id": "j", "spec": spec, "directory": str(folder), "datasets_dir": str(folder), "cache": cache, "resume": resume}
    crew.send(order)
    told = [from_line(line) for line in iter(crew.facts.readline, b"")]
    crew.kill()
    crew.wait(10)
    crew.close()
    return told


def weights(told: list[Fact]) -> dict[str, torch.Tensor]:
    """Those of a training that succeeded."""
    assert isinstance(told[-1], Succeeded), told[-2:]
    return load_file(Path(told[-1].directory) / "model.safetensors")


def rows(told: list[Fact]) -> list[EpochDone]:
    """Its epochs."""
    return [fact for fact in told if isinstance(fact, EpochDone)]


def losses(told: list[Fact]) -> list[tuple[int, float]]:
    """Its steps, with their losses."""
    return [(step, loss) for fact in told if isinstance(fact, StepsLogged) for step, _, loss, _ in fact.rows()]


@pytest.mark.parametrize(("name", "count"), [*((name, 2) for name in JOBS), ("cnn with every kind of dropout", 3)])
def test_several_trainers_end_with_the_weights_and_numbers_of_one(zygote: Zygote, tmp_path: Path, name: str, count: int):
    """Every epoch's metrics, every step's loss, the weights: dropped, mixed, drawn and left out as by one, whatever does not divide."""
    one, several = (train(zygote, JOBS[name], each, tmp_path / str(each)) for each in (1, count))

    expected, found = weights(one), weights(several)
    assert max((expected[key] - found[key]).abs().max().item() for key in expected) < TOLERANCE
    assert len(rows(one)) == len(rows(several))
    for mine, theirs in zip(rows(one), rows(several), strict=True):
        exact = ("train_accuracy", "val_accuracy", "lr")
        assert mine.step == theirs.step
        assert [mine.metrics[key] for key in exact] == [theirs.metrics[key] for key in exact]
        assert [mine.metrics[key] for key in ("train_loss", "val_loss")] == pytest.approx(
            [theirs.metrics[key] for key in ("train_loss", "val_loss")], abs=TOLERANCE
        )
    assert [step for step, _ in losses(one)] == [step for step, _ in losses(several)]
    assert [loss for _, loss in losses(one)] == pytest.approx([loss for _, loss in losses(several)], abs=20 * TOLERANCE)


def test_gone_on_with_in_the_midst_of_an_epoch_two_trainers_end_with_equal_bits(zygote: Zygote, tmp_path: Path):
    """One checkpoint, the leader's, is enough for both: their generators are in step. Also for what draws inside, as an LSTM's dropout does."""
    layers = [{"type": "Flatten", "end_dim": 2}, {"type": "LSTM", "hidden_size": 8, "num_layers": 2, "dropout": 0.4, "batch_first": True}]
    layers += ["RReLU", "Flatten", {"type": "Dropout", "p": 0.3}, {"type": "Linear", "out_features": 10}]
    body = _SHARED | {"model": {"type": "Sequential", "layers": layers}, "checkpoint": {"every_n_steps": 10}}
    whole = train(zygote, body, 2, tmp_path / "whole")
    written = next(fact for fact in whole if isinstance(fact, CheckpointWritten) and fact.step % 26)
    resume = {"directory": written.directory, "epoch": written.epoch, "step": written.step}

    again = train(zygote, body, 2, tmp_path / "again", resume)

    expected, found = weights(whole), weights(again)
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    assert rows(again)[-1].metrics["train_loss"] == rows(whole)[-1].metrics["train_loss"]


def test_a_loss_that_is_no_number_is_told_as_by_one_trainer(zygote: Zygote, tmp_path: Path):
    """By the leader, once, with the batches that another attempt may leave out."""
    body = _SHARED | {"optimizer": {"type": "SGD", "lr": 1e30}, "training": {"nan_loss": "roll_back"}}

    ends = [train(zygote, body, count, tmp_path / str(count))[-1] for count in (1, 2)]

    assert all(isinstance(end, Failed) and end.code == "nan_loss" for end in ends)
    assert ends[0] == ends[1]


def test_a_trainer_that_is_killed_ends_the_others_attempt(zygote: Zygote, tmp_path: Path):
    """Whichever it is, the supervisor reads an end without a word, and the signal that was the reason."""
    for victim in (0, 1):
        folder = tmp_path / str(victim)
        folder.mkdir()
        trainers = [zygote.spawn() for _ in range(2)]
        crew = Crew(trainers)
        spec = resolved(_SHARED | {"epochs": 10_000, "resources": _SHARED["resources"] | {"gpus": 2}}).model_dump(mode="json")
        cache = {"folder": str(tmp_path / "cache"), "limit_bytes": 2**30}
        crew.send({"spec": spec, "directory": str(folder), "datasets_dir": str(folder), "cache": cache, "resume": None})
        lines = iter(crew.facts.readline, b"")
        next(line for line in lines if isinstance(from_line(line), EpochDone))

        trainers[victim].kill()
        rest = [from_line(line) for line in lines]

        assert not any(isinstance(fact, Failed) and not fact.follows for fact in rest)
        assert any(isinstance(fact, Failed) and fact.follows for fact in rest) or crew.wait(10) == -9
        crew.kill()
        crew.close()


class Spoken(Trainer):
    """A trainer that says what it is given, and ends so."""

    def __init__(self, lines: list[dict[str, Any]], status: int) -> None:
        reading, writing = os.pipe()
        with os.fdopen(writing, "wb") as file:
            file.write(b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines))
        super().__init__(1, os.fdopen(os.dup(reading), "wb"), os.fdopen(reading, "rb"))
        self.ended(status)


LOST = {"fact": "Failed", "code": "trainer_lost", "message": "Another was lost.", "follows": True}
MEMORY = {"fact": "Failed", "code": "out_of_memory", "message": "Memory ran out.", "follows": False}
LOG = {"fact": "LogLine", "text": "a trace"}


@pytest.mark.parametrize(
    ("leader", "other", "said", "status"),
    [
        (([LOST], 0), ([LOG, MEMORY], 0), ["a trace", "Memory ran out."], None),
        (([LOST], 0), ([], -9), [], -9),
        (([], -9), ([LOST], 0), [], -9),
        (([LOG], 0), ([], 0), ["a trace"], 0),
    ],
    ids=["memory ran out in one", "one was killed", "the leader was killed", "nothing happened"],
)
def test_what_ended_first_is_the_reason(monkeypatch: pytest.MonkeyPatch, leader: Any, other: Any, said: list[str], status: int | None):
    """Who lost another trainer says so, and that counts only where nobody says more."""
    monkeypatch.setattr("worker.crew.WORD_SECONDS", 0.5)
    crew = Crew([Spoken(*leader), Spoken(*other)])

    found = [json.loads(line) for line in iter(crew.facts.readline, b"")]

    assert [each.get("message") or each["text"] for each in found if each != LOST] == said
    if status is not None:
        assert crew.wait(1) == status
    crew.close()


def test_the_twin_shares_what_is_trained_and_draws_for_whole_batches():
    """Parameters and buffers are the model's own; what drops stands wrapped; the names of the model stay."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Sequential(nn.Dropout2d(0.5)))

    copied = nn.SyncBatchNorm.convert_sync_batchnorm(twin(model, Ranks(rank=1, count=2)))

    assert all(mine is theirs for mine, theirs in zip(model.parameters(), copied.parameters(), strict=True))
    assert all(mine is theirs for mine, theirs in zip(model.buffers(), copied.buffers(), strict=True))
    assert [type(each) for each in copied] == [nn.Conv2d, nn.SyncBatchNorm, WholeBatch, nn.Sequential]
    assert isinstance(copied[3][0], WholeBatch)
    assert [type(each) for each in model] == [nn.Conv2d, nn.BatchNorm2d, nn.Dropout, nn.Sequential]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"resources": {"gpus": 2, "device": "cpu"}}, "/resources/gpus"),
        ({"dataloader": {"batch_size": 1}}, "/dataloader/batch_size"),
        ({"training": {"compile": True}}, "/training/compile"),
        ({"loss": {"type": "CrossEntropyLoss", "weight": [1.0] * 10}}, "/loss/weight"),
        ({"loss": {"type": "CrossEntropyLoss", "ignore_index": 3}}, "/loss/ignore_index"),
        (
            {"model": {"type": "Sequential", "layers": [{"type": "InstanceNorm2d", "track_running_stats": True}, *_HEAD]}},
            "/model/layers/0/track_running_stats",
        ),
    ],
    ids=str,
)
def test_what_several_gpus_would_compute_otherwise_is_refused(changes: dict[str, Any], pointer: str):
    """By name, with a cure; for one GPU there is nothing wrong with it."""
    body = _SHARED | {"resources": {"gpus": 2, "device": "gpu"}} | changes
    alone = body | {"resources": {"device": "gpu"}}

    assert pointer in {fault.pointer for fault in checked(body).errors}
    assert checked(alone).valid


def test_what_draws_inside_is_told():
    """Attention that drops gets other draws on two GPUs than on one."""
    layers = [{"type": "Flatten", "end_dim": 2}, {"type": "LSTM", "hidden_size": 8, "num_layers": 2, "dropout": 0.4}, *_HEAD]
    body = _SHARED | {"model": {"type": "Sequential", "layers": layers}}

    assert "draws_by_gpu" not in {warning.code for warning in checked(body).warnings}
    assert "draws_by_gpu" in {warning.code for warning in checked(body | {"resources": {"gpus": 2}}).warnings}
