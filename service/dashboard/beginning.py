"""A first spec for somebody's own data: small, right for what they hold, and theirs to change."""

from __future__ import annotations

from service.datasets.record import DatasetVersion
from service.spec.content import Content

SIDE = 64
"""Images of many sizes are made squares of so many pixels."""


def first_spec(dataset: DatasetVersion) -> str:
    """YAML of a job that trains on it. Raises ValueError where nothing is known of it yet, or it has no labels."""
    content = dataset.content
    if content is None:
        raise ValueError(f"Data set {dataset.name} is {dataset.state}: its content is not known.")
    if content.samples == "rows" and content.layout == "table":
        return _of_table(dataset.name, content)
    if content.labels is None:
        raise ValueError(f"Data set {dataset.name} has no labels to learn from.")
    layers = _convolutions() if content.samples == "images" else "[Flatten, {type: Linear, out_features: 64}, ReLU, OUTPUT]"
    outputs = max(1, len(content.classes))
    loss = {"class": "CrossEntropyLoss", "several": "BCEWithLogitsLoss", "numbers": "MSELoss"}[content.labels]
    return _text(dataset.name, _transforms(content), layers.replace("OUTPUT", _linear(outputs)), loss)


def _of_table(name: str, content: Content) -> str:
    """The last column is predicted, unless the table says which: words and few whole numbers as classes, others as a number."""
    label = next((column for column in content.columns if column.name == content.label_column), content.columns[-1])
    classes = len(label.values) if label.values and (label.kind == "categorical" or label.whole) else 0
    said = f", label_columns: {_word(label.name)}" + (", labels: class" if classes and label.kind == "numeric" else "")
    layers = f"[{{type: Linear, out_features: 32}}, ReLU, {_linear(classes or 1)}]"
    return _text(name, said, layers, "CrossEntropyLoss" if classes else "MSELoss")


def _transforms(content: Content) -> str:
    if content.samples != "images" or None not in content.shape:
        return ""
    return f", transforms: [{{type: Resize, size: [{SIDE}, {SIDE}]}}, ToImage, {{type: ToDtype, dtype: float32, scale: true}}]"


def _convolutions() -> str:
    return "".join(
        f"\n    - {layer}"
        for layer in (
            "{type: Conv2d, out_channels: 16, kernel_size: 3, padding: 1}",
            "ReLU",
            "{type: Conv2d, out_channels: 32, kernel_size: 3, padding: 1}",
            "ReLU",
            "{type: AdaptiveAvgPool2d, output_size: 4}",
            "Flatten",
            "OUTPUT",
        )
    )


def _linear(outputs: int) -> str:
    return f"{{type: Linear, out_features: {outputs}}}"


def _word(name: str) -> str:
    return name if name.isidentifier() else f"'{name.replace(chr(39), 2 * chr(39))}'"


def _text(name: str, more: str, layers: str, loss: str) -> str:
    return f"""\
# A first network for the data set {name}: small, quick, and yours to change
name: {name}
dataset: {{type: Upload, name: {_word(name)}, validation_split: 0.1{more}}}
dataloader: {{batch_size: 32}}
model:
  type: Sequential
  layers: {layers.lstrip() if not layers.startswith(chr(10)) else layers}
loss: {loss}
optimizer: {{type: AdamW, lr: 0.002}}
epochs: 10
checkpoint: {{monitor: val_loss, mode: min}}
""".replace("layers: \n", "layers:\n")
