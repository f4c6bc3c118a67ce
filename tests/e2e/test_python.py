"""The SDK against real processes: the README's own lines, real torch objects, and a download that breaks off."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from service.client import Client, from_torch
from tests.e2e.stack import ROOT, Stack

BLOCKS = [
    block for block in re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL) if "Client" in block
]


def digest_of(job: Any) -> str:
    """The SHA-256 of the weights."""
    return str(next(file["sha256"] for file in job.artifacts() if file["path"] == "model.safetensors"))


def test_real_torch_objects_train_to_the_weights_of_the_written_spec(stack: Stack) -> None:
    """A network with groups, a schedule and a loader, said by `from_torch`: the same SHA-256 as the spec that a person writes."""
    stack.have_worker()
    written = """
        seed: 7
        dataset: {type: Digits, limit: 300}
        dataloader: {batch_size: 32}
        model:
          type: Sequential
          layers:
            - {type: Conv2d, out_channels: 8, kernel_size: 3, padding: 1}
            - BatchNorm2d
            - ReLU
            - Flatten
            - {type: Dropout, p: 0.2}
            - {type: Linear, out_features: 10}
        loss: {type: CrossEntropyLoss, label_smoothing: 0.1}
        optimizer: {type: AdamW, lr: 0.01, groups: [{match: bias|norm, weight_decay: 0}]}
        lr_scheduler: {type: OneCycleLR, max_lr: 0.02}
        epochs: 2
    """
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(8 * 8 * 8, 10)
    )
    decayed = [each for each in model.parameters() if each.ndim > 1]
    others = [each for each in model.parameters() if each.ndim <= 1]
    optimizer = torch.optim.AdamW([{"params": decayed}, {"params": others, "weight_decay": 0.0}], lr=0.01)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.zeros(300)), batch_size=32, shuffle=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.02, total_steps=2 * len(loader))
    dataset = {"type": "Digits", "limit": 300}

    loss = nn.CrossEntropyLoss(label_smoothing=0.1)
    said = from_torch(model, loss, optimizer, dataset=dataset, epochs=2, lr_scheduler=schedule, dataloader=loader, seed=7)
    jobs = [stack.client.submit(spec) for spec in (written, said, said | {"seed": 8})]

    theirs, ours, other = (digest_of(job.wait(timeout=120, raise_on_failure=True)) for job in jobs)
    assert ours == theirs != other


@pytest.mark.parametrize("block", BLOCKS, ids=["dict", "torch"])
def test_the_readmes_python_runs(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: str) -> None:
    """Each block, word for word, in an empty folder."""
    stack.have_worker()
    monkeypatch.setenv("TRAINYARD_URL", stack.client.url)
    monkeypatch.chdir(tmp_path)
    printed, namespace = io.StringIO(), dict[str, Any]()

    with redirect_stdout(printed):
        exec(compile(block, "README.md", "exec"), namespace)  # noqa: S102  # our own README

    job = namespace["job"]
    assert job.state == "succeeded"
    file = tmp_path / ("model" if (tmp_path / "model").exists() else job.id) / "model.safetensors"
    assert hashlib.sha256(file.read_bytes()).hexdigest() == digest_of(stack.client.get(job.id))
    if "model" in namespace:
        assert load_file(file).keys() == namespace["model"].state_dict().keys()
        assert "succeeded" in {event["data"].get("state") for event in stack.client.events(job.id)}
    else:
        assert f"succeeded {job.latest['test_accuracy']}" in printed.getvalue()
        assert "val_loss" in printed.getvalue()


def test_a_notebook_shows_a_real_job(stack: Stack, small: dict[str, Any]) -> None:
    """While it waits, and with its curve once it has ended."""
    stack.dismiss()
    job = stack.client.submit(small | {"name": "shown", "epochs": 3})
    waiting = job._repr_html_()
    stack.have_worker()
    ended = job.wait(timeout=60)._repr_html_()

    assert "queued" in waiting
    assert "waiting for worker" in waiting
    assert "<polyline" not in waiting
    assert "succeeded" in ended
    assert len(re.findall(r"<title>epoch \d: train loss", ended)) == 3


class Short(httpx2.SyncByteStream):
    """A body that breaks off after so many bytes, with the error that a cut line gives."""

    def __init__(self, whole: httpx2.Response, left: int) -> None:
        self._whole, self._left = whole, left

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._whole.stream:  # type: ignore[union-attr]  # a synchronous one
            yield chunk[: self._left]
            self._left -= len(chunk)
            if self._left < 0:
                raise httpx2.ReadError("cut")

    def close(self) -> None:
        """Let the real one go."""
        self._whole.close()


class Cut(httpx2.BaseTransport):
    """The way to a real service, on which the weights' file breaks off; remembers the ranges that were asked for."""

    def __init__(self, after: int) -> None:
        self._real, self._after, self.ranges = httpx2.HTTPTransport(), after, list[str | None]()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Passed on."""
        answer = self._real.handle_request(request)
        if not request.url.path.endswith("model.safetensors"):
            return answer
        self.ranges.append(request.headers.get("Range"))
        return httpx2.Response(answer.status_code, headers=answer.headers, stream=Short(answer, self._after))

    def close(self) -> None:
        """Let the connections go."""
        self._real.close()


@pytest.mark.long
def test_a_download_goes_on_over_a_cut_line(stack: Stack, small: dict[str, Any], tmp_path: Path) -> None:
    """The real service answers the range that is still missing, until the file is whole."""
    stack.have_worker()
    job = stack.client.submit(small).wait(timeout=60)
    [size] = [file["size"] for file in job.artifacts() if file["path"] == "model.safetensors"]

    with Client(stack.client.url) as client:
        client.close()
        cut = Cut(after=size // 2 - 100)
        client._http = httpx2.Client(base_url=client.url, transport=cut)
        file = client.get(job.id).model_file(tmp_path)

    assert hashlib.sha256(file.read_bytes()).hexdigest() == digest_of(job)
    assert cut.ranges == [None, f"bytes={size // 2 - 100}-", f"bytes={2 * (size // 2 - 100)}-"]
