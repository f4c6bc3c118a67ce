"""What a GPU gathers and looks up, tried on the CPU: the transforms' own bits, in batches that lie as those of the CPU's path lie."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from service.spec.catalog import Declared
from service.spec.dataset import Transform
from service.spec.job import JobSpec
from tests.checking import resolved
from worker.training.data import Batches, applied, grouped, lookup, on_bytes
from worker.training.epochs import training_batches
from worker.training.loop import train
from worker.training.preparing import prepare
from worker.training.resident import AHEAD_BYTES, Resident, Residents
from worker.training.splits import Packed

CPU = torch.device("cpu")
ROOM = 2**30
FLOAT = {"type": "ToDtype", "dtype": "float32", "scale": True}
TAKING = ["ToImage", "PILToTensor"]


class Everywhere(Residents):
    """Takes the CPU for a GPU, of so many bytes; counts what it was asked for."""

    def __init__(self, room: int = ROOM) -> None:
        self.room, self.asked = room, 0

    def of(self, split: Packed, device: torch.device) -> Resident | None:
        """The split, held or not."""
        self.asked += 1
        return Resident(split, device, room=self.room)


def spec_of(transforms: list[Any]) -> JobSpec:
    """A job on made-up images, resolved."""
    dataset = {"type": "FakeData", "size": 50, "image_size": [3, 8, 8], "num_classes": 3, "transforms": transforms}
    body: dict[str, Any] = {
        "seed": 3,
        "dataset": dataset,
        "dataloader": {"batch_size": 8},
        "model": {"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "out_features": 3}]},
        "loss": "CrossEntropyLoss",
        "optimizer": {"type": "SGD", "lr": 0.1},
        "epochs": 2,
        "resources": {"threads": 1},
    }
    return resolved(body)


READ = TypeAdapter[tuple[Declared, ...]](tuple[Transform, ...])


def declared(transforms: list[Any]) -> tuple[Declared, ...]:
    """The transforms as a spec has them."""
    return READ.validate_python([{"type": each} if isinstance(each, str) else each for each in transforms])


def images(channels: int, *, count: int = 40, side: int = 9) -> torch.Tensor:
    """Bytes: every one, for every channel, and more of them than vectors hold evenly."""
    whole = torch.randint(0, 256, (count, channels, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    whole[:4].view(4, channels, -1)[:, :, :64] = torch.arange(256, dtype=torch.uint8).view(4, 1, 64)
    return whole


def same_bits(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    """Equal in type, place and every bit."""
    return ours.dtype == theirs.dtype and ours.stride() == theirs.stride() and torch.equal(ours.view(torch.uint8), theirs.view(torch.uint8))


numbers = st.floats(-4, 4, width=32).map(float)
spreads = st.floats(0.0009765625, 4, width=32).map(float)


@given(
    st.sampled_from((1, 3)),
    st.sampled_from(("float32", "float16", "bfloat16", "float64")),
    st.booleans(),
    st.sampled_from(TAKING),
    st.data(),
)
@settings(deadline=None)  # the first call of an operator takes longer
def test_what_is_looked_up_has_the_transforms_bits(channels: int, dtype: str, scale: bool, taking: str, data: st.DataObject):
    """Whatever the means and deviations, one for all channels or one each, twice over, to whatever type."""
    size = data.draw(st.sampled_from((1, channels)))
    normalize = {
        "type": "Normalize",
        "mean": data.draw(st.lists(numbers, min_size=size, max_size=size)),
        "std": data.draw(st.lists(spreads, min_size=size, max_size=size)),
    }
    after = data.draw(st.lists(st.sampled_from((normalize, "Identity", "ToPureTensor")), max_size=3))
    kind = "ToDtype" if data.draw(st.booleans()) else "ConvertImageDtype"
    converted = {"type": kind, "dtype": dtype} | ({"scale": scale} if kind == "ToDtype" else {})
    chosen = [taking, converted, *after, FLOAT]  # a model takes float32; before it, anything
    transforms = declared(chosen)[: data.draw(st.integers(2, len(chosen)))]
    split = Packed(images(channels), torch.arange(40))
    looked_up = lookup(split, transforms, CPU)

    assert looked_up is not None
    assert same_bits(looked_up(split.images), applied([on_bytes(each) for each in transforms], split.images))


def test_totensor_and_bytes_as_they_are_are_looked_up_too():
    """ToTensor divides; a tensor alone stays bytes, as augmentation by batch wants them."""
    for transforms in (["ToTensor"], ["ToImage"]):
        each = [Declared(type=name) for name in transforms]
        split = Packed(images(3), torch.arange(40))
        looked_up = lookup(split, each, CPU)

        assert looked_up is not None
        assert same_bits(looked_up(split.images), applied([on_bytes(one) for one in each], split.images))


def test_one_channel_that_normalize_makes_three_comes_out_as_three():
    """Three means over grey images broadcast; so does what is looked up."""
    normalize = {"type": "Normalize", "mean": [0.1, 0.2, 0.3], "std": [0.3, 0.2, 0.1]}
    transforms = declared(["ToImage", FLOAT, normalize])
    split = Packed(images(1), torch.arange(40))
    looked_up = lookup(split, transforms, CPU)

    assert looked_up is not None
    assert looked_up(split.images).shape == (40, 3, 9, 9)
    assert same_bits(looked_up(split.images), applied([on_bytes(each) for each in transforms], split.images))


@pytest.mark.parametrize("room", [ROOM, 0], ids=["held", "sent"])
@pytest.mark.parametrize("rows", [None, torch.tensor([*range(30, 3, -1), 3, 3, 39])], ids=["all", "chosen"])
@pytest.mark.parametrize("labels", [torch.arange(40), torch.rand(40, 2)], ids=["classes", "numbers"])
@pytest.mark.parametrize("kind", ["images", "numbers", "whole"])
def test_batches_are_those_of_the_split(kind: str, labels: torch.Tensor, rows: torch.Tensor | None, room: int):
    """Held or sent, of all samples or of some, images or plain numbers: values, strides and labels are those of the CPU's path."""
    samples = {"images": images(3), "numbers": torch.rand(40, 5), "whole": torch.randint(9, (40, 5))}[kind]
    split = Packed(samples, labels, rows)
    transforms = declared(["ToImage", FLOAT, {"type": "Normalize", "mean": [0.5], "std": [0.3]}]) if kind == "images" else ()
    groups = grouped(torch.randperm(len(split)), size=7)

    batches = list(Resident(split, CPU, room=room).over(groups, lookup(split, transforms, CPU)))

    assert len(batches) == len(groups)
    for group, (ours, answers) in zip(groups, batches, strict=True):
        theirs, their_answers = split.batch(group)
        assert same_bits(ours, applied([on_bytes(each) for each in transforms], theirs))
        assert torch.equal(answers, their_answers)


@pytest.mark.parametrize("first", [65, 2], ids=["whole", "trimmed"])
def test_a_batch_begins_where_an_allocation_would_and_no_more_is_made_at_once(first: int):
    """On 64 bytes here, though many are made at once; no more than AHEAD_BYTES, though the first of an epoch gone on with is small."""
    split = Packed(images(1, count=80, side=101), torch.arange(80))
    order = torch.arange(65 * 60) % 80
    groups = [order[:first], *grouped(order[first:], size=65)]
    made: list[int] = []
    looked_up = lookup(split, declared(["ToImage", FLOAT]), CPU)
    assert looked_up is not None

    def counted(samples: torch.Tensor) -> torch.Tensor:
        made.append(4 * samples.numel())
        return looked_up(samples)

    counted.numbers = looked_up.numbers  # type: ignore[attr-defined]  # as the other has them
    batches = [batch for batch, _ in Resident(split, CPU, room=ROOM).over(groups, counted)]  # type: ignore[arg-type]  # see above

    assert all(batch.data_ptr() % 64 == 0 for batch in batches)
    assert 1 < len(made) < len(groups)
    assert max(made) <= AHEAD_BYTES


def test_what_is_held_is_the_splits_own_samples_and_no_others():
    """Of a split of ten, ten go to the device; as many bytes as there is room for."""
    split = Packed(images(3), torch.arange(40), torch.arange(10))
    needed = 10 * (3 * 9 * 9 + 8)

    held, sent = (Resident(split, CPU, room=room)._held for room in (needed, needed - 1))

    assert held is not None
    assert len(held.images) == len(held.labels) == 10
    assert sent is None


@pytest.mark.parametrize(
    ("transforms", "served"),
    [
        (["ToImage", FLOAT], True),
        (["ToImage", FLOAT, {"type": "Normalize", "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}], True),
        (["ToImage", FLOAT, {"type": "CenterCrop", "size": 6}], False),
        (["ToImage", FLOAT, {"type": "CenterCrop", "size": 1}], False),
        (["ToImage", {"type": "Pad", "padding": 1, "fill": 3}, FLOAT], False),
        ([{"type": "Resize", "size": [6, 6]}, "ToImage", FLOAT], False),
    ],
    ids=str,
)
@pytest.mark.parametrize("room", [ROOM, 0], ids=["held", "sent"])
def test_what_looks_beside_a_number_goes_the_other_path(transforms: list[Any], served: bool, room: int):
    """Equal batches with and without; a crop, a border or a resize is never looked up, be it to one number."""
    spec, residents = spec_of(transforms), Everywhere(room)
    split = prepare(spec, datasets_dir=Path()).splits.train
    groups = grouped(torch.arange(len(split)), size=16)

    ours, theirs = (list(Batches(split, spec, device=CPU, residents=each).over(groups)) for each in (residents, None))

    assert bool(residents.asked) == served
    for (inputs, labels), (their_inputs, their_labels) in zip(ours, theirs, strict=True):
        assert same_bits(inputs, their_inputs)
        assert torch.equal(labels, their_labels)


@pytest.mark.parametrize(
    "dataset",
    [{}, {"train_transforms": ["RandomHorizontalFlip"]}, {"train_transforms": ["RandomHorizontalFlip"], "augment": "batch"}],
    ids=["plain", "augmented", "by batch"],
)
def test_a_training_on_it_ends_with_equal_bits(dataset: dict[str, Any]):
    """With validation, and whatever is drawn for samples or batches."""
    plain = spec_of(["ToImage", FLOAT])
    spec = plain.model_copy(update={"dataset": resolved(_body(dataset)).dataset})
    runs = [prepare(spec, datasets_dir=Path()) for _ in range(2)]
    residents = Everywhere()
    runs[1] = replace(runs[1], residents=residents)

    first, second = (list(train(run)) for run in runs)

    assert len(first) == len(second)
    assert residents.asked
    assert all(torch.equal(tensor, runs[1].model.state_dict()[name]) for name, tensor in runs[0].model.state_dict().items())


def _body(dataset: dict[str, Any]) -> dict[str, Any]:
    spec = {
        "type": "FakeData",
        "size": 50,
        "image_size": [3, 8, 8],
        "num_classes": 3,
        "validation_split": 0.2,
        "transforms": ["ToImage", FLOAT],
    }
    return {
        "dataset": spec | dataset,
        "model": {"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "out_features": 3}]},
        "loss": "CrossEntropyLoss",
        "optimizer": "SGD",
        "epochs": 1,
    }


def test_a_cpu_holds_nothing():
    """Only a GPU is asked for its memory."""
    assert Residents().of(Packed(images(1), torch.arange(40)), CPU) is None


def test_training_batches_are_made_by_what_the_run_holds():
    """Given on to where batches are made."""
    spec, residents = spec_of(["ToImage", FLOAT]), Everywhere()
    split = prepare(spec, datasets_dir=Path()).splits.train

    list(training_batches(split, spec, [torch.arange(4)], epoch=0, device=CPU, residents=residents))

    assert residents.asked == 1
