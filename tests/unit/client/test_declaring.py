"""What no spec can say of torch objects: each error names the place and the cure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, RandomSampler, TensorDataset, WeightedRandomSampler

import worker.training.vision  # noqa: F401  # before torchvision
from service.client import CannotDeclare, ClientError, from_torch
from service.client.declaring import loaders
from service.client.declaring.groups import finds, pattern
from service.spec.training import DataLoader as Declared
from tests.checking import checked
from worker.training import textbook

from torchvision import datasets, models  # isort: skip

GLOBAL_WIDTH = 16


def layers(width: int) -> nn.Sequential:
    """What MyNet has inside."""
    return nn.Sequential(nn.Linear(64, width), nn.ReLU())


class MyNet(nn.Module):
    """A class of somebody's own, that uses a function, a global and an import of its file."""

    def __init__(self, classes: int, width: int = GLOBAL_WIDTH) -> None:
        super().__init__()
        self.layers, self.head = layers(width), nn.Linear(width, classes)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self.head(functional.relu(self.layers(input.flatten(1))))


def declare(model: Any = None, loss: Any = None, optimizer: Any = None, **more: Any) -> dict[str, Any]:
    """`from_torch` of what is given, and of good parts else."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)) if model is None else model
    fitting = torch.optim.SGD(model.parameters()) if optimizer is None and isinstance(model, nn.Module) else optimizer or "SGD"
    return from_torch(model, nn.CrossEntropyLoss() if loss is None else loss, fitting, **{"dataset": "Digits", "epochs": 1} | more)


def hooked() -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(64, 10)))
    model[1][0].register_forward_hook(lambda *_: None)
    return model


def shared() -> nn.Module:
    layer = nn.Linear(64, 64)
    return nn.Sequential(nn.Flatten(), layer, nn.ReLU(), layer)


def tied() -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Linear(64, 64))
    model[2].weight = model[1].weight
    return model


def patched() -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    model[1].forward = lambda batch: batch
    return model


def frozen() -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    model[1].weight.requires_grad_(False)
    return model


def changed_inside() -> nn.Module:
    model = nn.Sequential(nn.TransformerEncoderLayer(8, 2))
    model[0].dropout1.p = 0.5
    return model


def replaced_inside() -> nn.Module:
    model = nn.Sequential(nn.TransformerEncoderLayer(8, 2))
    model[0].linear1 = MyNet(3)
    return model


def quietly_changed() -> nn.Module:
    class Backwards(nn.Sequential):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return super().forward(-input)

    return nn.Sequential(nn.Flatten(), Backwards(nn.Linear(64, 10)))


MODELS: dict[str, tuple[Callable[[], Any], str]] = {
    "a hook": (hooked, r"model\.1\.0 \(Linear\) has a hook.*Remove it"),
    "a shared module": (shared, r"model\.3 \(Linear\) is the very module of model\.1.*Make a new one"),
    "a tied parameter": (tied, r"model\.2\.weight .*the very parameter of model\.1\.weight.*Untie"),
    "a forward put there": (patched, r"model\.1 \(Linear\) has a forward that was put there"),
    "a frozen weight": (frozen, r"model\.1\.weight .*does not train.*requires_grad_\(True\)"),
    "another number type": (lambda: nn.Sequential(nn.Linear(2, 2)).double(), r"model\.0\.weight .*torch\.float64.*model\.float\(\)"),
    "a lazy layer": (lambda: nn.Sequential(nn.LazyLinear(10)), r"model\.0 \(LazyLinear\) has no sizes yet.*Run one batch"),
    "a class of one's own": (lambda: MyNet(10), r"model \(MyNet\) is a class of your own.*allow_source=True"),
    "one inside": (
        lambda: nn.Sequential(nn.Flatten(), MyNet(10)),
        r"model\.1 \(MyNet\) is a class of your own.*whole model into one class",
    ),
    "a Sequential of another forward": (quietly_changed, r"model\.1 \(Backwards\) is a class of your own"),
    "a single layer": (lambda: nn.Linear(64, 10), r"model \(Linear\) is a single layer.*nn\.Sequential\(model\)"),
    "a list of layers": (lambda: nn.Sequential(nn.ModuleList([nn.ReLU()])), r"model\.0 \(ModuleList\) only holds modules.*nn\.Sequential"),
    "a layer that the catalog has not": (lambda: nn.Sequential(nn.AdaptiveLogSoftmaxWithLoss(4, 9, [3])), r"model\.0 .*cannot be said"),
    "a layer of a close name": (
        lambda: nn.Sequential(nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2), 1, enable_nested_tensor=False)),
        r"model\.0 \(TransformerEncoder\) cannot be said in a spec\. Is TransformerEncoderLayer meant",
    ),
    "an argument that the catalog has not": (
        lambda: nn.Sequential(nn.MaxPool2d(2, return_indices=True)),
        r"model\.0 .*return_indices=True",
    ),
    "a function as activation": (
        lambda: nn.Sequential(nn.TransformerEncoderLayer(8, 2, activation=torch.tanh)),
        r"model\.0\.activation .*is tanh.*'relu' and 'gelu'",
    ),
    "another function of that name": (
        lambda: nn.Sequential(nn.TransformerEncoderLayer(8, 2, activation=relu)),
        r"model\.0\.activation .*is relu, a function of its own",
    ),
    "numbers changed inside": (changed_inside, r"model\.0 .*dropout is 0\.1 and 0\.5"),
    "a module put inside": (replaced_inside, r"model\.0\.linear1 \(MyNet\) stands inside TransformerEncoderLayer"),
    "an infinite number": (lambda: nn.Sequential(nn.ConstantPad1d(1, -float("inf"))), r"model\.0\.value .*is -inf.*finite"),
    "a dimension by name": (lambda: nn.Sequential(nn.Unflatten("C", (2, 2))), r"model\.0\.dim .*is 'C'.*a number"),
    "a name with a dot": (lambda: named("0first"), r"model\.0first .*calls a layer '0first'"),
    "torchvision's": (models.resnet18, r"model \(ResNet\) is torchvision's.*'name': 'resnet18'"),
    "no module": (lambda: [nn.Linear(2, 2)], r"model \(list\) is no nn\.Module"),
    "a residual of a single layer": (
        lambda: nn.Sequential(textbook.Residual(nn.Linear(3, 3))),
        r"model\.0\.layers \(Linear\) is no nn\.Sequential of numbered layers",
    ),
}


def relu(input: torch.Tensor) -> torch.Tensor:
    """Not torch's."""
    return input


def named(name: str) -> nn.Module:
    model = nn.Sequential()
    model.add_module(name, nn.Linear(64, 10))
    return model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", MODELS)
def test_a_model_that_cannot_be_said(case: str) -> None:
    """The error names the module by its path, what it is, and what would be right."""
    make, sentence = MODELS[case]

    with pytest.raises(CannotDeclare, match=sentence) as refused:
        declare(make(), optimizer="SGD")

    assert isinstance(refused.value, ClientError)
    assert isinstance(refused.value, ValueError)


def on_another_device() -> nn.Module:
    """A model whose weights say that they lie elsewhere; there is no such device here."""
    model = nn.Sequential(nn.Linear(2, 2))

    class Elsewhere(nn.Parameter):
        device = torch.device("cuda", 0)

    model[0].weight = Elsewhere(model[0].weight.data)
    return model


def test_weights_on_a_device_are_refused() -> None:
    """The error says where the device is told instead; weights on `meta`, which are none yet, are well."""
    with pytest.raises(CannotDeclare, match=r"model\.0\.weight .*lies on cuda:0.*model\.cpu\(\).*resources=\{'device': 'gpu'\}"):
        declare(on_another_device())
    with torch.device("meta"):
        assert declare(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))["model"]["layers"][1]["in_features"] == 64


def one_of(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(module.parameters(), lr=0.1)


class Mine(torch.optim.SGD):
    """An optimizer of somebody's own."""


LINEAR = nn.Linear(64, 10)
NET = nn.Sequential(nn.Flatten(), LINEAR)
DATA = TensorDataset(torch.zeros(8))
PARTS: dict[str, tuple[dict[str, Any], str]] = {
    "a loss as a function": ({"loss": functional.cross_entropy}, r"loss .*is cross_entropy.*nn\.CrossEntropyLoss\(\)"),
    "a loss of one's own": ({"loss": MyNet(3)}, r"loss \(MyNet\).*A spec can say BCELoss"),
    "a loss that takes more": ({"loss": nn.TripletMarginLoss()}, r"loss \(TripletMarginLoss\)"),
    "an optimizer of one's own": ({"optimizer": Mine(NET.parameters())}, r"optimizer \(Mine\) is none.*SGD"),
    "an optimizer with a closure": ({"optimizer": torch.optim.LBFGS(NET.parameters())}, r"optimizer \(LBFGS\) is none"),
    "another model's": (
        {"model": NET, "optimizer": one_of(nn.Linear(2, 2))},
        r"holds a parameter that is not the model's.*model\.parameters",
    ),
    "some parameters left out": ({"model": NET, "optimizer": torch.optim.SGD([LINEAR.bias])}, r"leaves out 1\.weight"),
    "an option of speed": ({"model": NET, "optimizer": torch.optim.Adam(NET.parameters(), capturable=True)}, r"capturable=True"),
    "a schedule of a function": ({"lr_scheduler": lr_scheduler.LambdaLR(one_of(NET), lambda _: 1.0)}, r"lr_scheduler \(LambdaLR\)"),
    "a scale of one's own": (
        {"lr_scheduler": lr_scheduler.CyclicLR(one_of(NET), 0.1, 0.2, scale_fn=lambda _: 1.0, cycle_momentum=False)},
        r"lr_scheduler \(CyclicLR\) scales by a function",
    ),
    "a list of floors": (
        {
            "lr_scheduler": lr_scheduler.ReduceLROnPlateau(
                torch.optim.SGD([{"params": [LINEAR.weight]}, {"params": [LINEAR.bias]}]), min_lr=[0.1, 0.2]
            )
        },
        r"lr_scheduler\.min_lr .*is a list",
    ),
    "two that overwrite each other": (
        {
            "lr_scheduler": lr_scheduler.SequentialLR(
                (cycling := one_of(NET)),
                [lr_scheduler.OneCycleLR(cycling, 0.1, 9, cycle_momentum=False) for _ in range(2)],
                [3],
            )
        },
        r"lr_scheduler \(SequentialLR\) joins schedules that overwrite",
    ),
    "weights of samples": (
        {"dataloader": DataLoader(DATA, sampler=WeightedRandomSampler([1.0] * 8, 8))},
        r"dataloader .*WeightedRandomSampler.*weights of classes",
    ),
    "a sample drawn twice": (
        {"dataloader": DataLoader(DATA, sampler=RandomSampler(DATA, replacement=True))},
        r"dataloader .*RandomSampler",
    ),
    "no batches": ({"dataloader": DataLoader(DATA, batch_size=None)}, r"dataloader .*batches by a sampler of your own"),
    "a function that joins": ({"dataloader": DataLoader(DATA, collate_fn=lambda each: each)}, r"dataloader .*Leave collate_fn out"),
    "a function at the start": ({"dataloader": DataLoader(DATA, worker_init_fn=lambda _: None)}, r"dataloader .*Leave worker_init_fn out"),
    "no loader": ({"dataloader": DATA}, r"dataloader \(TensorDataset\) is no DataLoader"),
    "a data set as an object": ({"dataset": datasets.FakeData()}, r'dataset \(FakeData\) .*Give dataset="FakeData"'),
    "a data set of one's own": ({"dataset": DATA}, r"dataset \(TensorDataset\) .*Upload the data"),
    "a part that there is not": ({"labls": {}}, r"no part 'labls'\. Is labels meant"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", PARTS)
def test_another_part_that_cannot_be_said(case: str) -> None:
    """The error names the part, what it is, and what would be right."""
    given, sentence = PARTS[case]

    with pytest.raises(CannotDeclare, match=sentence):
        declare(**given)


def test_loaders_say_what_differs() -> None:
    """Batch sizes, order, processes and the rest of a batch; what is as by default is not said."""
    loader = DataLoader(DATA, batch_size=4, num_workers=1, drop_last=True, pin_memory=False)

    said = declare(dataloader=loader, eval_dataloader=DataLoader(DATA, batch_size=8))["dataloader"]
    mixed = declare(dataloader={"sampler": "WeightedRandomSampler"}, eval_dataloader=DataLoader(DATA, batch_size=8))["dataloader"]

    assert said == {"batch_size": 4, "eval_batch_size": 8, "shuffle": False, "num_workers": 1, "drop_last": True}
    assert mixed == {"sampler": "WeightedRandomSampler", "eval_batch_size": 8}
    assert "dataloader" not in declare(dataloader=DataLoader(DATA, batch_size=64, shuffle=True))
    assert (Declared().batch_size, Declared().eval_batch_size) == (loaders._BATCH_SIZE, loaders._EVAL_BATCH_SIZE)


def test_parts_may_be_said_as_in_a_spec() -> None:
    """A dict or a word stands for itself, beside objects."""
    named = {"type": "torchvision", "name": "resnet18"}

    said = from_torch(named, "CrossEntropyLoss", {"type": "SGD", "lr": 0.1}, dataset="CIFAR10", epochs=1, dataloader={"batch_size": 8})

    assert said == {
        "dataset": "CIFAR10",
        "model": named,
        "loss": "CrossEntropyLoss",
        "optimizer": {"type": "SGD", "lr": 0.1},
        "epochs": 1,
        "dataloader": {"batch_size": 8},
    }


def test_a_class_of_ones_own_goes_as_source() -> None:
    """With all that it uses of its file, and nothing else: the source makes the same class alone."""
    torch.manual_seed(5)
    model = MyNet(10)

    said = declare(model, allow_source=True, source_arguments={"classes": 10}, seed=5)

    assert (said["model"]["class_name"], said["model"]["kwargs"]) == ("MyNet", {"classes": 10})
    assert "def layers" in said["model"]["code"]
    assert "GLOBAL_WIDTH = 16" in said["model"]["code"]
    assert "pytest" not in said["model"]["code"]
    namespace: dict[str, Any] = {}
    exec(said["model"]["code"], namespace)  # noqa: S102  # our own class
    torch.manual_seed(5)
    again = namespace["MyNet"](10)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(model.parameters(), again.parameters(), strict=True))
    assert checked(said).errors == ()


def test_a_source_that_cannot_be_sent() -> None:
    """Arguments that are not told, a class inside a function, and one that was never in a file are refused with the cure."""

    class Inner(nn.Module):
        pass

    namespace: dict[str, Any] = {"nn": nn}
    exec("class Typed(nn.Module):\n    pass\n", namespace)  # noqa: S102  # as at a prompt
    with pytest.raises(CannotDeclare, match=r"missing a required argument: 'classes'.*source_arguments=\{\.\.\.\} for MyNet\(classes"):
        declare(MyNet(10), allow_source=True)
    with pytest.raises(CannotDeclare, match="does not stand at the top of its file"):
        declare(Inner(), optimizer="SGD", allow_source=True)
    with pytest.raises(CannotDeclare, match="has no source that can be read"):
        declare(namespace["Typed"](), optimizer="SGD", allow_source=True)


def test_the_example_in_the_docstring_is_what_it_says(tmp_path: Path) -> None:
    """What `from_torch` gives is JSON as it stands, and a file of it is a spec."""
    (tmp_path / "job.json").write_text(json.dumps(declare(seed=3, name="mine", resources={"threads": 1})))

    verdict = checked(json.loads((tmp_path / "job.json").read_text()))

    assert verdict.valid
    assert [row.type for row in verdict.layers] == ["Flatten", "Linear"]


def test_patterns_find_what_they_have_to() -> None:
    """Names within modules, classes, whole modules, and single ones where nothing shorter fits; none where 200 letters are too few."""
    owners = {f"{at}.{own}": ("Linear" if at % 2 else "Conv2d") for at in range(4) for own in ("weight", "bias")}

    assert pattern([name for name in owners if name.endswith("bias")], owners) == r"\bbias$"
    assert pattern([name for name in owners if owners[name] == "Linear"], owners) == r"^Linear\."
    assert pattern(["1.weight", "1.bias"], owners) == r"^1\."
    assert pattern(["1.weight", "2.bias"], owners) == r"^1\.weight$|^2\.bias$"
    many = {f"{at}.{own}": "Linear" for at in range(80) for own in ("weight", "bias")}
    assert pattern([name for at, name in enumerate(many) if at % 3 == 0], many) is None
    assert finds("BIAS", "0.bias", "Linear")
    assert finds(r"linear\.bias", "0.bias", "Linear")
    assert not finds("norm", "0.bias", "Linear")
