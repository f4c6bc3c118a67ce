"""The textbook's MNIST perceptron, by hand: torchvision's dataset and DataLoader, nothing of Trainyard."""

import argparse
import gzip
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader

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
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--limit", type=int, default=60_000)
args = parser.parse_args()
torch.set_num_threads(args.threads)
root = unpacked(args.data)

transform = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
train_data = torch.utils.data.Subset(datasets.MNIST(root, train=True, transform=transform), range(args.limit))
test_data = datasets.MNIST(root, train=False, transform=transform)

torch.manual_seed(0)
model = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
train_loader = DataLoader(train_data, batch_size=64, shuffle=True, generator=torch.Generator().manual_seed(0))
test_loader = DataLoader(test_data, batch_size=512, generator=torch.Generator())

for _ in range(args.epochs):
    model.train()
    for x, y in train_loader:
        prediction = model(x)
        loss = loss_fn(prediction, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

model.eval()
right = 0
with torch.no_grad():
    for x, y in test_loader:
        right += (model(x).argmax(1) == y).sum().item()
print(f"test accuracy {right / len(test_data):.4f}")
save_file(model.state_dict(), args.out)
shutil.rmtree(root)
