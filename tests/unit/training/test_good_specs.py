"""Specs that are right are accepted, with torch's own counts and shapes, and train a step for real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from service.spec.catalog import load
from tests.checking import checked, resolved
from tests.corpus.good import BATCH_TRANSFORMS, HEAD, LAYERS, LOSSES, OPTIMIZERS, SCHEDULERS, SHAPES, TRAINING, TRANSFORMS, spec, with_layer
from worker.training.loop import train
from worker.training.preparing import prepare

pytestmark = pytest.mark.filterwarnings("ignore")


def trains(body: dict[str, Any]) -> None:
    """One epoch, for real, of two steps."""
    run = prepare(resolved(body), datasets_dir=Path(), resume=None)
    assert [fact.step for fact in train(run)] == [1, 2, 2]


@pytest.mark.parametrize(("kind", "layer", "written"), LAYERS, ids=[written for _, _, written in LAYERS])
def test_each_layer_has_torchs_count_and_shape(kind: str, layer: dict[str, Any], written: str):
    """The table's row of a layer, beside torch's module and its real output."""
    before, shape = SHAPES[kind]
    module = eval(written, {"nn": nn})  # noqa: S307  # a constant of ours
    output = module(torch.rand(2, *shape))
    output = output[0] if isinstance(output, tuple) else output
    wanted = output[:, :] if layer["type"] != "LSTMCell" else output

    verdict = checked(with_layer(kind, layer))

    assert verdict.valid, verdict.errors
    row = verdict.layers[len(before)]
    assert row.output_shape == tuple(wanted.shape[1:])
    assert row.num_parameters == sum(parameter.numel() for parameter in module.parameters())
    trains(with_layer(kind, layer))


def test_every_layer_of_one_input_is_among_them():
    """A new layer needs a good spec."""
    of_two = {
        "Bilinear",
        "TransformerDecoderLayer",
        "Transformer",
        "CosineSimilarity",
        "PairwiseDistance",
        "MatMul",
        "Add",
        "Multiply",
        "Cat",
    }
    elsewhere = {"Embedding", "EmbeddingBag", "MultiheadAttention", "PixelShuffle", "Permute"}

    assert set(load()["layers"]) - {layer["type"] for _, layer, _ in LAYERS} == of_two | elsewhere


@pytest.mark.parametrize(
    ("layers", "count"),
    [
        ([{"type": "Flatten", "start_dim": 1, "end_dim": 2}, {"type": "MultiheadAttention", "num_heads": 2}, *HEAD], 8 * 8 * 4 + 8 * 4 + 192 * 3 + 3),
        ([{"type": "Conv2d", "out_channels": 4, "kernel_size": 1}, {"type": "PixelShuffle", "upscale_factor": 2}, *HEAD], 16 + 256 * 3 + 3),
        ([{"type": "Permute", "dims": [0, 2, 3, 1]}, {"type": "Linear", "out_features": 2}, *HEAD], 8 + 128 * 3 + 3),
        ([{"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "out_features": 5}]}, {"type": "Linear", "out_features": 3}], 965 + 18),
        ([{"type": "Residual", "layers": [{"type": "Conv2d", "out_channels": 3, "kernel_size": 3, "padding": 1}]}, *HEAD], 84 + 579),
        ([{"type": "Residual", "layers": [{"type": "Conv2d", "out_channels": 4, "kernel_size": 3, "padding": 1}], "shortcut": [{"type": "Conv2d", "out_channels": 4, "kernel_size": 1}]}, *HEAD], 112 + 16 + 771),
        ([{"type": "Concat", "branches": [[{"type": "Conv2d", "out_channels": 2, "kernel_size": 1}], []]}, *HEAD], 8 + 963),
        ([{"type": "Parallel", "merge": "mean", "branches": [["ReLU"], ["Tanh"]]}, *HEAD], 579),
        (["Flatten", {"type": "Repeat", "times": 3, "layers": [{"type": "Linear", "out_features": 6}, "ReLU"]}, {"type": "Linear", "out_features": 3}], 193 * 6 + 42 * 2 + 21),
    ],
)  # fmt: skip
def test_what_joins_layers_counts_right(layers: list[Any], count: int):
    """By hand."""
    assert checked(spec(layers)).num_parameters == count
    trains(spec(layers))


def test_layers_of_two_inputs_stand_in_a_graph():
    """Bilinear, distances and a decoder, over one another."""
    nodes = [
        {"name": "rows", "layer": {"type": "Flatten", "start_dim": 1, "end_dim": 2}},
        {"name": "decoder", "layer": {"type": "TransformerDecoderLayer", "nhead": 2, "dim_feedforward": 8}, "inputs": ["rows", "rows"]},
        {"name": "attention", "layer": {"type": "MultiheadAttention", "num_heads": 2}, "inputs": ["decoder", "rows", "rows"]},
        {"name": "bilinear", "layer": {"type": "Bilinear", "out_features": 4}, "inputs": ["attention", "rows"]},
        {"name": "similarity", "layer": {"type": "CosineSimilarity", "dim": 2}, "inputs": ["attention", "rows"]},
        {"name": "distance", "layer": {"type": "PairwiseDistance"}, "inputs": ["attention", "rows"]},
        {"name": "product", "layer": "Multiply", "inputs": ["similarity", "distance"]},
        {"name": "flat", "layer": "Flatten", "inputs": "bilinear"},
        {"name": "joined", "layer": "Cat", "inputs": ["flat", "product"]},
        {"name": "head", "layer": {"type": "Linear", "out_features": 3}},
    ]
    body = spec([]) | {"model": {"type": "Graph", "nodes": nodes}}

    assert [row.output_shape for row in checked(body).layers][-2:] == [(24 * 4 + 24,), (3,)]
    trains(body)


def test_pixels_may_be_indices():
    """Embedding takes whole numbers."""
    dataset = {"transforms": ["ToImage", {"type": "ToDtype", "dtype": "int64"}]}
    trains(spec(["Flatten", {"type": "Embedding", "num_embeddings": 256, "embedding_dim": 2}, *HEAD], dataset=dataset))
    trains(spec(["Flatten", {"type": "EmbeddingBag", "num_embeddings": 256, "embedding_dim": 4}, *HEAD], dataset=dataset))


@pytest.mark.parametrize(("loss", "target"), LOSSES, ids=str)
def test_each_loss_trains_on_its_target(loss: Any, target: str):
    """Every loss of the catalog but BCELoss, which wants probabilities."""
    trains(spec(HEAD, loss=loss, dataset={"target": target}))


def test_bceloss_trains_behind_a_sigmoid():
    """And every loss is among these."""
    trains(spec([*HEAD, "Sigmoid"], loss="BCELoss", dataset={"target": "one_hot"}))
    assert {loss if isinstance(loss, str) else loss["type"] for loss, _ in LOSSES} | {"BCELoss"} == set(load()["losses"])


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_each_optimizer_trains(optimizer: Any):
    """With torch's own defaults."""
    trains(spec(HEAD, optimizer=optimizer))


def test_muon_trains_weights_without_offsets():
    """And every optimizer is among these."""
    trains(spec(["Flatten", {"type": "Linear", "out_features": 3, "bias": False}], optimizer="Muon"))
    assert {each if isinstance(each, str) else each["type"] for each in OPTIMIZERS} | {"Muon"} == set(load()["optimizers"])


@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=str)
def test_each_schedule_trains(scheduler: Any):
    """Those of the step and those of the epoch."""
    trains(spec(HEAD, lr_scheduler=scheduler))


@pytest.mark.parametrize("training", TRAINING, ids=str)
def test_each_way_to_take_steps_trains(training: dict[str, Any]):
    """What `training` can say."""
    trains(spec(["Flatten", "BatchNorm1d", *HEAD], training=training))


def test_every_schedule_is_among_them():
    """A new one needs a good spec."""
    assert {each if isinstance(each, str) else each["type"] for each in SCHEDULERS} == set(load()["schedulers"])


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
def test_each_augmentation_trains(transform: Any):
    """On training samples only."""
    trains(spec(HEAD, dataset={"train_transforms": [transform]}))


@pytest.mark.parametrize(("transforms", "loss", "target"), BATCH_TRANSFORMS, ids=str)
def test_each_mixture_of_batches_trains(transforms: list[Any], loss: Any, target: str):
    """With a loss that takes shares of classes."""
    trains(spec(HEAD, loss=loss, dataset={"batch_transforms": transforms, "target": target}))


@pytest.mark.parametrize("metric", [name for name, entry in load()["metrics"].items() if entry["task"] == "classification"])
def test_each_metric_of_classes_is_accepted(metric: str):
    """With its required arguments at a half."""
    needed = {name: 0.5 for name, says in load()["metrics"][metric]["args"].items() if "default" not in says}
    assert checked(spec(HEAD, evaluation={"metrics": [{"type": metric} | needed]})).valid


@pytest.mark.parametrize("metric", [name for name, entry in load()["metrics"].items() if entry["task"] == "regression"])
def test_each_metric_of_numbers_is_accepted(metric: str):
    """On an autoencoder."""
    needed = {name: 2.0 for name, says in load()["metrics"][metric]["args"].items() if "default" not in says}
    body = spec(["Identity", {"type": "Conv2d", "out_channels": 3, "kernel_size": 1}], loss="MSELoss", dataset={"target": "input"})
    verdict = checked(body | {"evaluation": {"metrics": [{"type": metric} | needed]}})
    assert verdict.valid, verdict.errors
