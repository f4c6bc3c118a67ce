"""Specs that cannot train: what is put where, the place that the fault must name, and a word that it must say."""

from __future__ import annotations

from typing import Any

CONV = {"type": "Conv2d", "out_channels": 4, "kernel_size": 3}
LAST = {"type": "Linear", "out_features": 3}
GRAPH = "/model/nodes"


def seq(*layers: Any) -> dict[str, Any]:
    """A Sequential in place of the model."""
    return {"model": {"type": "Sequential", "layers": list(layers)}}


def layer(**arguments: Any) -> dict[str, Any]:
    """One layer before Flatten and the head; its own place is /model/layers/0."""
    return seq(arguments, "Flatten", LAST)


def graph(*nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A Graph in place of the model."""
    return {"model": {"type": "Graph", "nodes": list(nodes), **more}}


def data(**changes: Any) -> dict[str, Any]:
    """The data set changed."""
    return {"dataset": {"type": "FakeData", "size": 17, "image_size": [3, 8, 8], "num_classes": 3} | changes}


def code(source: str, **more: Any) -> dict[str, Any]:
    """Custom code in place of the model."""
    return {"model": {"type": "Module", "class_name": "Net", "code": source} | more}


L0 = "/model/layers/0"
FLOATS = [{"type": "ToDtype", "dtype": "float32", "scale": True}]

BROKEN: list[tuple[dict[str, Any], str, str]] = [
    # names
    (layer(type="Conv2D", out_channels=4, kernel_size=3), f"{L0}/type", "Conv2D"),
    (layer(type="Dense", units=4), f"{L0}/type", "Dense"),
    (seq("Flaten", LAST), L0, "Flaten"),
    (layer(type="LazyLinear", out_features=3), f"{L0}/type", "LazyLinear"),
    (layer(type="MaxUnpool2d", kernel_size=2), f"{L0}/type", "MaxUnpool2d"),
    (layer(**CONV, filters=3), f"{L0}/filters", "filters"),
    (layer(**CONV, kernal_size=3), f"{L0}/kernal_size", "kernal_size"),
    (layer(type="Dropout", rate=0.5), f"{L0}/rate", "rate"),
    ({"loss": "CrossEntropy"}, "/loss", "CrossEntropy"),
    ({"loss": "CTCLoss"}, "/loss", "CTCLoss"),
    ({"loss": "TripletMarginLoss"}, "/loss", "TripletMarginLoss"),
    ({"loss": {"type": "MSELoss", "wieght": [1]}}, "/loss/wieght", "wieght"),
    ({"optimizer": "LBFGS"}, "/optimizer", "LBFGS"),
    ({"optimizer": "SparseAdam"}, "/optimizer", "SparseAdam"),
    ({"optimizer": {"type": "Adam", "learning_rate": 0.1}}, "/optimizer/learning_rate", "learning_rate"),
    ({"optimizer": {"type": "SGD", "betas": [0.9, 0.9]}}, "/optimizer/betas", "betas"),
    ({"lr_scheduler": "LambdaLR"}, "/lr_scheduler", "LambdaLR"),
    ({"lr_scheduler": {"type": "StepLR", "step": 3}}, "/lr_scheduler/step", "step"),
    (data(transforms=["ToTensr"]), "/dataset/transforms/0", "ToTensr"),
    (data(transforms=["Lambda"]), "/dataset/transforms/0", "Lambda"),
    (data(train_transforms=["MixUp"]), "/dataset/train_transforms/0", "MixUp"),
    ({"dataset": "MNITS"}, "/dataset", "MNITS"),
    ({"dataset": {"type": "MNIST", "split": "train"}}, "/dataset/split", "split"),
    ({"evaluation": {"metrics": ["Acuracy"]}}, "/evaluation/metrics/0", "Acuracy"),
    ({"model": "resnet18"}, "/model", "resnet18"),
    ({"model": {"type": "torchvision", "name": "resnet19"}}, "/model/name", "resnet"),
    ({"model": {"type": "torchvision", "name": "resnet18", "pretrained": True}}, "/model/pretrained", "pretrained"),
    ({"model": {"type": "torchvision", "name": "resnet18", "weights": "IMAGENET"}}, "/model/weights", "IMAGENET"),
    ({"model": {"type": "torchvision", "name": "resnet18", "init_weights": True}}, "/model/init_weights", "init_weights"),
    ({"learning_rate": 0.1}, "/learning_rate", "learning_rate"),
    ({"epoch": 3}, "/epoch", "epoch"),
    # what is missing
    ({"dataset": None}, "/dataset", ""),
    (seq({"out_features": 3}), L0, "type"),
    (layer(type="Linear"), L0, "out_features"),
    (layer(type="Conv2d", out_channels=4), L0, "kernel_size"),
    (layer(type="MaxPool2d"), L0, "kernel_size"),
    (layer(type="LSTM"), L0, "hidden_size"),
    (layer(type="GroupNorm"), L0, "num_groups"),
    (layer(type="PixelShuffle"), L0, "upscale_factor"),
    ({"lr_scheduler": "StepLR"}, "/lr_scheduler", "step_size"),
    ({"lr_scheduler": {"type": "SequentialLR", "milestones": [2]}}, "/lr_scheduler", "schedulers"),
    (data(transforms=[{"type": "Normalize", "mean": [0.5]}]), "/dataset/transforms/0", "std"),
    (data(train_transforms=["RandomCrop"]), "/dataset/train_transforms/0", "size"),
    (graph({"layer": "ReLU"}), f"{GRAPH}/0", "name"),
    ({"model": {"type": "Repeat", "times": 2}}, "/model/type", "Repeat"),
    (seq({"type": "Repeat", "times": 2}), L0, "layers"),
    (seq({"type": "Residual"}), L0, "layers"),
    (seq({"type": "Concat"}), L0, "branches"),
    ({"evaluation": {"metrics": ["FBetaScore", "PrecisionAtFixedRecall"]}}, "/evaluation/metrics/1", "min_recall"),
    # ranges and kinds
    (layer(**CONV | {"out_channels": 0}), f"{L0}/out_channels", "1"),
    (layer(**CONV | {"out_channels": 4.5}), f"{L0}/out_channels", "integer"),
    (layer(**CONV | {"out_channels": "4"}), f"{L0}/out_channels", "integer"),
    (layer(**CONV | {"out_channels": True}), f"{L0}/out_channels", "integer"),
    (layer(**CONV, dilation=0), f"{L0}/dilation", "1"),
    (layer(**CONV, stride=0), f"{L0}/stride", "1"),
    (layer(**CONV, padding=-1), f"{L0}/padding", "0"),
    (layer(**CONV, padding="full"), f"{L0}/padding", "full"),
    (layer(**CONV, padding_mode="mirror"), f"{L0}/padding_mode", "mirror"),
    (layer(**CONV | {"kernel_size": [3, 3, 3]}), f"{L0}/kernel_size", "2 items"),
    (layer(type="Dropout", p=1.5), f"{L0}/p", "1"),
    (layer(type="Dropout", p=-0.1), f"{L0}/p", "0"),
    (layer(type="BatchNorm2d", eps=-1), f"{L0}/eps", "0"),
    (layer(type="GELU", approximate="sigmoid"), f"{L0}/approximate", "sigmoid"),
    (layer(type="CELU", alpha=0), f"{L0}/alpha", "0"),
    (layer(type="Upsample", scale_factor=-1), f"{L0}/scale_factor", "0"),
    (layer(type="RNN", hidden_size=3, nonlinearity="gelu"), f"{L0}/nonlinearity", "gelu"),
    (seq({"type": "Repeat", "times": 0, "layers": ["ReLU"]}), f"{L0}/times", "1"),
    (seq({"type": "Parallel", "merge": "max", "branches": [["ReLU"]]}), f"{L0}/merge", "max"),
    (seq(), "/model/layers", "1"),
    ({"optimizer": {"type": "SGD", "lr": -0.1}}, "/optimizer/lr", "0"),
    ({"optimizer": {"type": "SGD", "lr": "0.1"}}, "/optimizer/lr", "number"),
    ({"optimizer": {"type": "Adam", "betas": [0.9, 1.0]}}, "/optimizer/betas/1", "1"),
    ({"optimizer": {"type": "Adam", "betas": [0.9]}}, "/optimizer/betas", "2 items"),
    ({"optimizer": {"type": "Adagrad", "lr_decay": -1}}, "/optimizer/lr_decay", "0"),
    ({"optimizer": {"type": "SGD", "groups": [{"match": "("}]}}, "/optimizer/groups/0/match", "regular expression"),
    ({"optimizer": {"type": "SGD", "groups": [{"lr": 1}]}}, "/optimizer/groups/0", "match"),
    ({"optimizer": {"type": "SGD", "groups": [{"match": "bias", "eps": 1}]}}, "/optimizer/groups/0/eps", "eps"),
    ({"loss": {"type": "CrossEntropyLoss", "label_smoothing": 2}}, "/loss/label_smoothing", "1"),
    ({"loss": {"type": "CrossEntropyLoss", "reduction": "none"}}, "/loss/reduction", "none"),
    ({"loss": {"type": "CrossEntropyLoss", "weight": [1, -1, 1]}}, "/loss/weight/1", "0"),
    ({"loss": {"type": "MultiMarginLoss", "p": 3}}, "/loss/p", "1 or 2"),
    ({"lr_scheduler": {"type": "StepLR", "step_size": 0}}, "/lr_scheduler/step_size", "1"),
    ({"lr_scheduler": {"type": "OneCycleLR", "max_lr": 0}}, "/lr_scheduler/max_lr", "0"),
    ({"lr_scheduler": {"type": "OneCycleLR", "max_lr": 1, "pct_start": 1.5}}, "/lr_scheduler/pct_start", "1"),
    ({"lr_scheduler": {"type": "StepLR", "step_size": 1, "interval": "batch"}}, "/lr_scheduler/interval", "batch"),
    ({"epochs": 0}, "/epochs", "1"),
    ({"epochs": 1.5}, "/epochs", "integer"),
    ({"seed": -1}, "/seed", "0"),
    ({"dataloader": {"batch_size": 0}}, "/dataloader/batch_size", "1"),
    ({"dataloader": {"num_workers": 100}}, "/dataloader/num_workers", "64"),
    (data(validation_split=1.0), "/dataset/validation_split", "1"),
    (data(limit=0), "/dataset/limit", "1"),
    (data(target="class"), "/dataset/target", "class"),
    (data(image_size=[3, 8]), "/dataset/image_size", "3 items"),
    (data(transforms=["ToImage", {"type": "ToDtype", "dtype": "float"}]), "/dataset/transforms/1/dtype", "float"),
    (data(transforms=["ToImage", *FLOATS, {"type": "Normalize", "mean": [0.5], "std": [0]}]), "/dataset/transforms/2/std/0", "0"),
    (data(train_transforms=[{"type": "RandomHorizontalFlip", "p": 2}]), "/dataset/train_transforms/0/p", "1"),
    ({"training": {"precision": "int8"}}, "/training/precision", "int8"),
    ({"training": {"clip_grad_norm": 0}}, "/training/clip_grad_norm", "0"),
    ({"training": {"ema_decay": 0}}, "/training/ema_decay", "0"),
    ({"training": {"ema_decay": 1}}, "/training/ema_decay", "1"),
    ({"training": {"ema_decay": "x"}}, "/training/ema_decay", "number"),
    # sizes
    (seq("Flatten", LAST | {"in_features": 190}), "/model/layers/1/in_features", "in_features=192, got 190"),
    (layer(**CONV, in_channels=1), f"{L0}/in_channels", "in_channels=3, got 1"),
    (layer(type="BatchNorm2d", num_features=4), f"{L0}/num_features", "num_features=3, got 4"),
    (seq({"type": "Flatten", "start_dim": 1, "end_dim": 2}, {"type": "LSTM", "hidden_size": 4, "input_size": 24}, "Flatten", LAST), "/model/layers/1/input_size", "input_size=8, got 24"),
    (layer(type="GroupNorm", num_groups=2), L0, "divisible"),
    (layer(**CONV, groups=2), L0, "divisible"),
    (layer(**CONV | {"kernel_size": 9}), L0, "Kernel size"),
    (layer(**CONV, padding="same", stride=2), L0, "strided"),
    (layer(type="MaxPool2d", kernel_size=2, padding=2), L0, "pad"),
    (layer(type="AvgPool2d", kernel_size=9), L0, ""),
    (layer(type="ConvTranspose2d", out_channels=2, kernel_size=3, output_padding=1), L0, "output_padding"),
    (layer(type="ReflectionPad2d", padding=8), L0, "Padding size"),
    (layer(type="PixelShuffle", upscale_factor=2), L0, "upscale_factor"),
    (layer(type="PixelUnshuffle", downscale_factor=3), L0, "invalid"),
    (layer(type="ChannelShuffle", groups=2), L0, "divisible"),
    (layer(type="GLU", dim=1), L0, "even"),
    (layer(type="Softmax", dim=4), L0, "Dimension out of range"),
    (layer(type="Unflatten", dim=1, unflattened_size=[2, 2]), L0, "unflatten"),
    (layer(type="LayerNorm", normalized_shape=[8, 7]), L0, "normalized_shape"),
    (layer(type="PReLU", num_parameters=2), L0, "2"),
    (layer(type="Upsample"), L0, "size"),
    (layer(type="Upsample", scale_factor=2, mode="linear"), L0, "linear"),
    (layer(type="FractionalMaxPool2d", kernel_size=2), L0, "output size"),
    (layer(type="MultiheadAttention", num_heads=3), L0, "divisible"),
    (layer(type="Fold", output_size=4, kernel_size=2), L0, ""),
    (layer(type="Embedding", num_embeddings=300, embedding_dim=2), L0, "whole numbers"),
    (layer(type="Bilinear", out_features=3), L0, "more than one input"),
    (layer(type="Add"), L0, "more than one input"),
    (layer(type="Flatten", start_dim=0), L0, "batch"),
    (layer(type="Permute", dims=[1, 0, 2, 3]), L0, "batch"),
    (layer(type="ZeroPad2d", padding=-4), L0, "nothing"),
    (seq("Flatten", CONV, LAST), "/model/layers/1", "[192]"),
    (seq("Flatten", "BatchNorm2d", LAST), "/model/layers/1", "4D"),
    (seq("Flatten", {"type": "LSTM", "hidden_size": 3, "batch_first": True}, {"type": "MaxPool3d", "kernel_size": 2}), "/model/layers/2", ""),
    # composites
    (seq({"type": "Residual", "layers": [CONV]}, "Flatten", LAST), L0, "[4, 6, 6]"),
    (seq({"type": "Residual", "layers": [CONV], "shortcut": ["Identity"]}, "Flatten", LAST), L0, "[3, 8, 8]"),
    (seq({"type": "Concat", "branches": [[CONV], []]}, "Flatten", LAST), L0, "[4, 6, 6], [3, 8, 8]"),
    (seq({"type": "Concat", "dim": 0, "branches": [[], []]}, "Flatten", LAST), L0, "batch"),
    (seq({"type": "Parallel", "branches": [[CONV], []]}, "Flatten", LAST), L0, "differ"),
    (seq({"type": "Repeat", "times": 4, "layers": [CONV]}, "Flatten", LAST), f"{L0}/layers/0", "Kernel size"),
    (seq({"type": "Repeat", "times": 2, "layers": [CONV | {"in_channels": 3}]}, "Flatten", LAST), f"{L0}/layers/0/in_channels", "in_channels=4, got 3"),
    (seq({"type": "Residual", "layers": [{"type": "Linear", "out_features": 8, "in_features": 3}]}, "Flatten", LAST), f"{L0}/layers/0/in_features", "in_features=8, got 3"),
    (seq({"type": "Repeat", "times": 1000, "layers": ["ReLU", "ReLU"]}), "/model", "1000 layers"),
    (graph({"name": "a", "layer": "ReLU", "inputs": "b"}, {"name": "b", "layer": "ReLU", "inputs": "a"}), f"{GRAPH}/0/inputs", "circle"),
    (graph({"name": "a", "layer": "ReLU", "inputs": "x"}), f"{GRAPH}/0/inputs", "no node `x`"),
    (graph({"name": "a", "layer": "ReLU"}, {"name": "a", "layer": "Flatten"}), f"{GRAPH}/1/name", "already"),
    (graph({"name": "input", "layer": "ReLU"}), f"{GRAPH}/0/name", "input"),
    (graph({"name": "a", "layer": "ReLU"}, output="b"), "/model/output", "no node `b`"),
    (graph({"name": "forward", "layer": "Flatten"}, {"name": "h", "layer": LAST}), GRAPH, "forward"),
    (graph({"name": "1a", "layer": "ReLU"}), f"{GRAPH}/0/name", "pattern"),
    (graph({"name": "c", "layer": CONV}, {"name": "s", "layer": "Add", "inputs": ["c", "input"]}, {"name": "h", "layer": LAST}), f"{GRAPH}/1/layer", "[4, 6, 6] and [3, 8, 8]"),
    (graph({"name": "s", "layer": {"type": "Sequential", "layers": ["ReLU"]}, "inputs": ["input", "input"]}), f"{GRAPH}/0/inputs", "one input"),
    # loss, targets, metrics
    (seq("Flatten", LAST | {"out_features": 2}), "/model/layers/1", "3 classes"),
    (seq(CONV), L0, "one number per class"),
    ({"loss": "MSELoss"}, "/loss", "number by number"),
    ({"loss": "BCEWithLogitsLoss"}, "/loss", "number by number"),
    ({"loss": "L1Loss"} | data(target="value"), "/model/layers/1", "[1]"),
    ({"loss": "MSELoss"} | data(target="input"), "/model/layers/1", "[3, 8, 8]"),
    ({"loss": "NLLLoss"} | data(target="one_hot"), "/loss", "NLLLoss"),
    ({"loss": "MultiMarginLoss"} | data(target="one_hot"), "/loss", "MultiMarginLoss"),
    ({"loss": "BCELoss"} | data(target="one_hot"), "/loss", "probabilities"),
    ({"loss": {"type": "CrossEntropyLoss", "weight": [1, 2]}}, "/loss/weight", "2 numbers"),
    ({"loss": {"type": "BCEWithLogitsLoss", "pos_weight": [1, 2]}} | data(target="one_hot"), "/loss", "size"),
    ({"evaluation": {"metrics": ["R2Score"]}}, "/evaluation/metrics/0", "regression"),
    ({"loss": "MSELoss", "evaluation": {"metrics": ["F1Score"]}} | seq({"type": "Conv2d", "out_channels": 3, "kernel_size": 1}) | data(target="input"), "/evaluation/metrics/0", "classification"),
    ({"evaluation": {"metrics": [{"type": "F1Score", "top_k": 5}]}}, "/evaluation/metrics/0", "top_k"),
    ({"evaluation": {"metrics": ["F1Score", "F1Score"]}}, "/evaluation/metrics/1", "twice"),
    # optimizer, schedule
    ({"optimizer": {"type": "SGD", "nesterov": True}}, "/optimizer", "momentum"),
    ({"optimizer": "Muon"}, "/optimizer", "2D"),
    ({"optimizer": {"type": "SGD", "groups": [{"match": "norm", "lr": 0.1}]}}, "/optimizer/groups/0/match", "norm"),
    ({"optimizer": {"type": "SGD", "groups": [{"match": "."}, {"match": "bias"}]}}, "/optimizer/groups/1/match", "bias"),
    ({"optimizer": "Adam", "lr_scheduler": {"type": "CyclicLR", "base_lr": 0.1, "max_lr": [1, 2]}}, "/lr_scheduler", "max_lr"),
    ({"optimizer": "Adagrad", "lr_scheduler": {"type": "OneCycleLR", "max_lr": 0.1}}, "/lr_scheduler", "momentum"),
    ({"lr_scheduler": {"type": "OneCycleLR", "max_lr": 0.1, "total_steps": 2}}, "/lr_scheduler/total_steps", "3 steps"),
    ({"lr_scheduler": {"type": "SequentialLR", "schedulers": ["ConstantLR", "LinearLR"], "milestones": [1, 2]}}, "/lr_scheduler", "milestone"),
    ({"lr_scheduler": {"type": "ChainedScheduler", "schedulers": ["ReduceLROnPlateau"]}}, "/lr_scheduler/schedulers/0", "cannot stand inside"),
    ({"lr_scheduler": {"type": "ReduceLROnPlateau", "monitor": "val_loss"}}, "/lr_scheduler/monitor", "validation split is empty"),
    (seq("Flatten"), "/model", "Nothing in the model can be trained"),
    # data
    (data(transforms=["ToImage"]), "/dataset/transforms", "ToDtype"),
    (data(transforms=[]), "/dataset/transforms", "not a tensor"),
    (data(transforms=["ToImage", {"type": "ToDtype", "dtype": "float64"}]), "/model/layers/1", "float32"),
    (data(transforms=["ToImage", *FLOATS, {"type": "Normalize", "mean": [0, 0], "std": [1]}]), "/dataset/transforms/2/mean", "Normalize"),
    (data(transforms=["ToImage", {"type": "Normalize", "mean": [0], "std": [1]}, *FLOATS]), "/dataset/transforms/1", "Normalize"),
    (data(transforms=[{"type": "RandomCrop", "size": 16}, "ToImage", *FLOATS]), "/dataset/transforms/0/size", "larger than"),
    (data(train_transforms=[{"type": "RandomCrop", "size": 4}]), "/dataset/train_transforms", "[3, 4, 4]"),
    (data(train_transforms=[{"type": "RandomRotation", "degrees": [45, 45], "expand": True}]), "/dataset/train_transforms", ""),
    ({"dataset": "Food101"}, "/dataset/transforms", "differ"),
    (data(size=17) | seq("Flatten", LAST, "BatchNorm1d"), "/dataloader/batch_size", "1 sample"),
    ({"dataloader": {"batch_size": 64, "drop_last": True}}, "/dataloader/batch_size", "nothing to train on"),
    ({"checkpoint": {"monitor": "val_accuracy"}}, "/checkpoint/monitor", "validation split is empty"),
    ({"training": {"early_stopping": {}}}, "/training/early_stopping/monitor", "validation split is empty"),
    # torchvision, custom code
    ({"model": {"type": "torchvision", "name": "resnet18", "freeze": ["layer9"]}}, "/model/freeze/0", "layer9"),
    ({"model": {"type": "torchvision", "name": "alexnet"}}, "/model", "alexnet cannot take"),
    ({"model": {"type": "torchvision", "name": "resnet18", "num_classes": 2}}, "/model/num_classes", "3 classes"),
    ({"model": {"type": "torchvision", "name": "inception_v3", "aux_logits": True}}, "/model/aux_logits", "False"),
    (code("class Net(nn.Module"), "/model/code", "not Python"),
    (code("class Other: pass"), "/model/class_name", "no class `Net`"),
    (code("class Net: pass"), "/model/code", "base class"),
    (code("import torch\nclass Net(torch.nn.Module): pass", kwarg={}), "/model/kwarg", "kwarg"),
    ({"model": {"type": "Job", "job_id": "17"}}, "/model/job_id", "pattern"),
]  # fmt: skip
