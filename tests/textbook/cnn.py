"""A convolutional network with Dropout and a validation split, by hand: torchvision's dataset and DataLoader, nothing of Trainyard."""

import argparse
import gzip
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader, Subset, random_split

if torch.version.cuda is None:  # torchvision's wheel beside a CPU torch: two operators have to be declared before it imports
    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from torchvision import datasets
from torchvision.transforms import v2


def unpacked(root: Path) -> Path:
    folder = Path(tempfile.mkdtemp())
    (folder / "MNIST" / "raw").mkdir(parents=True)
    for path in (root / "MNIST" / "raw").glob("*.gz"):
        with gzip.open(path) as source, (folder / "MNIST" / "raw" / path.stem).open("wb") as out:
            shutil.copyfileobj(source, out)
    return folder


parser = argparse.ArgumentParser()
parser.add_argument("--data", type=Path, required=True)
parser.add_argument("--out", type=Path, required=True)
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--limit", type=int, default=60_000)
args = parser.parse_args()
torch.set_num_threads(args.threads)
root = unpacked(args.data)

transform = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
all_data = Subset(datasets.MNIST(root, train=True, transform=transform), range(args.limit))
test_data = datasets.MNIST(root, train=False, transform=transform)

held_out = int(len(all_data) * 0.1)
train_data, val_data = random_split(all_data, [len(all_data) - held_out, held_out], generator=torch.Generator().manual_seed(7))

torch.manual_seed(7)
model = nn.Sequential(
    nn.Conv2d(1, 32, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(32, 64, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Dropout(0.25),
    nn.Linear(3136, 128),
    nn.ReLU(),
    nn.Linear(128, 10),
)
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
train_loader = DataLoader(train_data, batch_size=64, shuffle=True, generator=torch.Generator().manual_seed(7))
val_loader = DataLoader(val_data, batch_size=512, generator=torch.Generator())
test_loader = DataLoader(test_data, batch_size=512, generator=torch.Generator())


def accuracy(loader: DataLoader, size: int) -> float:
    model.eval()
    right = 0
    with torch.no_grad():
        for x, y in loader:
            right += (model(x).argmax(1) == y).sum().item()
    return right / size


for epoch in range(args.epochs):
    model.train()
    for x, y in train_loader:
        prediction = model(x)
        loss = loss_fn(prediction, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch + 1}: validation accuracy {accuracy(val_loader, len(val_data)):.4f}")

print(f"test accuracy {accuracy(test_loader, len(test_data)):.4f}")
save_file(model.state_dict(), args.out)
shutil.rmtree(root)
