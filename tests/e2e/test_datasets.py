"""Data sets of one's own, through real processes: uploaded, looked at, trained on, removed; and what goes wrong on the way."""

from __future__ import annotations

import io
import os
import signal
import socket
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.client.errors import BadRequest, Conflict, NotFound, Rejected
from tests.e2e.stack import Stack, running_stack, spooled, until
from tests.servers import S3Server
from tests.unit.ingest.corpus import HOSTILE, class_folders, npz, zipped
from worker.training.readers import read_idx

LONG = os.environ.get("TRAINYARD_LONG_TESTS") == "1"
MNIST = Path(os.environ.get("TRAINYARD_DATASETS_DIR", Path(__file__).parents[3] / "shared" / "data"))
CNN = [
    {"type": "Conv2d", "out_channels": 8, "kernel_size": 3},
    "ReLU",
    {"type": "MaxPool2d", "kernel_size": 2},
    "Flatten",
    {"type": "Dropout", "p": 0.2},
    {"type": "Linear", "out_features": 10},
]


@pytest.fixture(scope="module")
def service(valkey_url: str, s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An API with a spool of its own, for the whole file."""
    settings = {
        "TRAINYARD_SPOOL_DIR": str(tmp_path_factory.mktemp("spool")),
        "TRAINYARD_DATASETS_DIR": str(tmp_path_factory.mktemp("data")),
        "TRAINYARD_UPLOAD_BYTES": str(2**32),
    }
    with running_stack(tmp_path_factory.mktemp("stack"), redis_url=valkey_url, s3=s3.environment(), **settings) as running:
        yield running


def stored(s3: S3Server, name: str) -> list[Path]:
    """What lies in storage of a data set; folders may go meanwhile."""
    places = (Path(inside) / file for inside, _, files in os.walk(s3.root) for file in files)
    return [path for path in places if f"/datasets/{name}/" in path.as_posix()]


def put(stack: Stack, folder: Path, name: str, data: bytes) -> dict[str, Any]:
    """Upload bytes, and wait until they were looked at."""
    file = folder / "upload"
    file.write_bytes(data)
    sent = stack.client.push(name, file)
    return stack.client.wait_dataset(name, sent["version"], timeout=60)


def on(name: str, **dataset: Any) -> dict[str, Any]:
    layers = ["Flatten", {"type": "Linear", "out_features": 3}]
    return {
        "dataset": {"type": "Upload", "name": name, **dataset},
        "model": {"type": "Sequential", "layers": layers},
        "loss": "CrossEntropyLoss",
        "optimizer": {"type": "SGD", "lr": 0.1},
        "epochs": 1,
    }


def arrays(seed: int = 0, size: int = 60) -> bytes:
    generator = np.random.default_rng(seed)
    return npz(x=generator.integers(0, 256, (size, 6, 6), dtype=np.uint8), y=np.arange(size) % 3)


@pytest.mark.long
@pytest.mark.skipif(not (MNIST / "MNIST").is_dir(), reason="MNIST is not here")
def test_ten_thousand_digits_train_alike_from_a_tar_of_folders_from_arrays_and_from_the_built_in_loader(stack: Stack, tmp_path: Path):
    """The same samples in the same order, as torchvision's ImageFolder has them: class by class."""
    raw = MNIST / "MNIST" / "raw"
    images, labels = (read_idx(raw, f"train-{kind}")[:10_000] for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"))
    order = np.argsort(labels, kind="stable")
    images, labels = images[order], labels[order]
    tests, answers = (read_idx(raw, f"t10k-{kind}")[:500] for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"))

    with tarfile.open(tmp_path / "digits.tar", "w") as archive:
        for split, pixels, classes in (("train", images, labels), ("test", tests, answers)):
            for at, (image, label) in enumerate(zip(pixels, classes, strict=True)):
                png = io.BytesIO()
                Image.fromarray(image).save(png, "PNG")
                entry = tarfile.TarInfo(f"digits/{split}/{label}/{at:05}.png")
                entry.size = len(png.getvalue())
                archive.addfile(entry, io.BytesIO(png.getvalue()))
    np.savez(tmp_path / "digits.npz", x_train=images, y_train=labels, x_test=tests, y_test=answers)
    built_in = tmp_path / "data" / "MNIST" / "raw"
    built_in.mkdir(parents=True)
    for part, pixels, classes in (("train", images, labels), ("t10k", tests, answers)):
        for kind, array in (("images-idx3-ubyte", pixels), ("labels-idx1-ubyte", classes)):
            head = bytes((0, 0, 8, array.ndim)) + b"".join(size.to_bytes(4, "big") for size in array.shape)
            (built_in / f"{part}-{kind}").write_bytes(head + array.tobytes())

    stack.environment["TRAINYARD_DATASETS_DIR"] = str(tmp_path / "data")
    stack.have_worker()
    spec = on("") | {"seed": 3, "model": {"type": "Sequential", "layers": CNN}}
    weights = {}
    for name in ("tar", "npz", "built in"):
        if name == "built in":
            dataset: dict[str, Any] = {"type": "MNIST", "limit": 10_000}
        else:
            sent = stack.client.push(f"digits-{name}", tmp_path / f"digits.{name}")
            found = stack.client.wait_dataset(f"digits-{name}", sent["version"], timeout=120)
            assert (found["state"], found["content"]["sizes"], found["content"]["shape"]) == (
                "ready",
                {"train": 10_000, "test": 500},
                [1, 28, 28],
            )
            dataset = {"type": "Upload", "name": f"digits-{name}"}
        job = stack.client.wait(stack.client.submit(spec | {"dataset": dataset})["id"], timeout=120)
        assert job["state"] == "succeeded", job["error"]
        if name != "built in":
            assert job["dataset_digest"] == f"sha256:{found['version']}"
        weights[name] = next(file["sha256"] for file in stack.client.artifacts(job["id"]) if file["path"] == "model.safetensors")

    assert len(set(weights.values())) == 1


def test_the_same_bytes_are_the_same_version_and_two_at_once_are_two(stack: Stack, tmp_path: Path):
    files = [tmp_path / f"{at}.npz" for at in range(2)]
    for at, file in enumerate(files):
        file.write_bytes(arrays(at))
    with ThreadPoolExecutor(8) as pool:
        sent = list(pool.map(lambda at: stack.client.push("pair", files[at % 2]), range(8)))

    assert len({each["version"] for each in sent}) == 2
    for each in sent:
        assert stack.client.wait_dataset("pair", each["version"], timeout=60)["state"] == "ready"
    assert [each["name"] for each in stack.client.datasets()] == ["pair", "pair"]
    assert spooled(stack) == []


def test_an_upload_that_is_cut_off_leaves_nothing_and_starts_again(stack: Stack, s3: S3Server, tmp_path: Path):
    data = arrays(size=5000)
    with socket.create_connection(("127.0.0.1", int(stack.environment["TRAINYARD_PORT"]))) as line:
        head = f"PUT /v1/datasets/torn HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
        line.sendall(head.encode() + data[: len(data) // 2])
        until(lambda: bool(spooled(stack)), seconds=10)
    until(lambda: not spooled(stack), seconds=10)

    with pytest.raises(NotFound):
        stack.client.dataset("torn")
    assert stored(s3, "torn") == []
    assert put(stack, tmp_path, "torn", data)["state"] == "ready"
    assert len(stored(s3, "torn")) == 3


@pytest.mark.long
def test_an_api_that_dies_while_it_looks_is_followed_by_one_that_does(valkey_url: str, s3: S3Server, tmp_path: Path):
    """What was answered with 202 is looked at, whoever dies."""
    settings = {"TRAINYARD_SPOOL_DIR": str(tmp_path / "spool")}
    with running_stack(tmp_path, redis_url=valkey_url, s3=s3.environment(), **settings) as first:
        (tmp_path / "big.npz").write_bytes(arrays(7, size=400_000))
        sent = first.client.push("orphan", tmp_path / "big.npz")
        os.kill(first.api_pid, signal.SIGKILL)
    assert sent["state"] == "validating"
    (tmp_path / "again").mkdir()
    with running_stack(tmp_path / "again", redis_url=valkey_url, s3=s3.environment(), **settings) as second:
        found = second.client.wait_dataset("orphan", sent["version"], timeout=120)
        assert found["state"] == "ready"
        assert spooled(second) == []


def test_a_data_set_stays_while_a_job_needs_it_and_goes_whole(stack: Stack, s3: S3Server, tmp_path: Path):
    found = put(stack, tmp_path, "needed", arrays())
    job = stack.client.submit(on("needed"))
    assert job["resolved_spec"]["dataset"]["version"] == found["version"]

    with pytest.raises(Conflict, match=job["id"]):
        stack.client.delete_dataset("needed")
    stack.client.cancel(job["id"])
    stack.client.delete_dataset("needed", found["version"][:12])

    with pytest.raises(Rejected) as refused:
        stack.client.submit(on("needed"))
    assert refused.value.faults[0]["pointer"] == "/dataset/name"
    with pytest.raises(NotFound):
        stack.client.dataset("needed")
    until(lambda: not stored(s3, "needed"), seconds=20)


def test_a_spec_that_names_no_data_or_what_is_not_ready_is_refused_at_its_place(stack: Stack, tmp_path: Path):
    assert put(stack, tmp_path, "pets", arrays())["state"] == "ready"
    assert put(stack, tmp_path, "broken", b"no table\0")["state"] == "invalid"
    for dataset, pointer, word in (
        ({"name": "pest"}, "/dataset/name", "pets"),
        ({"name": "pets", "version": "f" * 64}, "/dataset/version", "no data set"),
        ({"name": "pets", "version": "latest"}, "/dataset/version", "SHA-256"),
        ({"name": "broken"}, "/dataset/name", "cannot be used"),
        ({"name": "pets", "test_split": 1.0}, "/dataloader/batch_size", "nothing to train"),
    ):
        verdict = stack.client.validate(on("pets") | {"dataset": {"type": "Upload", **dataset}})
        assert not verdict["valid"]
        assert any(pointer == fault["pointer"] and word in f"{fault['detail']} {fault['suggestion']}" for fault in verdict["errors"]), (
            verdict["errors"]
        )
    assert stack.client.validate(on("pets"))["resolved_spec"]["dataset"]["content"]["sizes"] == {"train": 60}


def test_an_upload_that_cannot_be_taken_says_why(stack: Stack, tmp_path: Path):
    file = tmp_path / "file"
    file.write_bytes(b"")
    with pytest.raises(BadRequest, match="no bytes"):
        stack.client.push("empty", file)
    file.write_bytes(b"a,b\n1,2\n")
    with pytest.raises(BadRequest, match="no name"):
        stack.client.push("Not A Name", file)
    with socket.create_connection(("127.0.0.1", int(stack.environment["TRAINYARD_PORT"]))) as line:
        line.sendall(f"PUT /v1/datasets/vast HTTP/1.1\r\nHost: localhost\r\nContent-Length: {2**33}\r\n\r\n".encode())
        answer = line.recv(2000).decode()
    assert answer.startswith("HTTP/1.1 413")
    with pytest.raises(BadRequest, match="damaged"):
        stack.client._ask("PUT", "/v1/datasets/damaged", content=b"a,b\n1,3\n", headers={"X-Content-SHA256": "0" * 64})
    assert stack.client.datasets() == []
    assert spooled(stack) == []


@pytest.mark.parametrize(
    "name", list(HOSTILE) if LONG else ["zip slip", "tar symbolic link", "zip bomb", "npz with a pickle", "csv of a billion columns"]
)
def test_a_hostile_upload_is_refused_and_disk_and_store_stay_clean(stack: Stack, s3: S3Server, tmp_path: Path, name: str):
    make, code, _ = HOSTILE[name]
    data = make()
    if not data:
        pytest.skip("an upload without bytes is refused at once")

    found = put(stack, tmp_path, "hostile", data)

    assert found["state"] == "invalid"
    assert code in [flaw["code"] for flaw in found["flaws"]]
    until(lambda: not stored(s3, "hostile"), seconds=20)
    assert spooled(stack) == []
    assert stack.client.ready()["status"] == "ok"


def test_a_workers_copy_is_shared_and_checked(stack: Stack, s3: S3Server, tmp_path: Path):
    """A second job reads what the first one fetched; bytes that changed in storage are not trained on."""
    version = put(stack, tmp_path, "shared", zipped(class_folders(**{"train/eel/0.png": class_folders()["train/cat/0.png"]})))["version"]
    stack.start_worker()
    spec = on("shared", test_split=0.4)
    jobs = [stack.client.wait(stack.client.submit(spec | {"seed": seed})["id"], timeout=60) for seed in range(2)]
    assert [job["state"] for job in jobs] == ["succeeded", "succeeded"], jobs[0]["error"]
    copies = Path(stack.environment["TRAINYARD_WORK_DIR"]) / "uploads"
    assert (copies / version / "files" / "train" / "cat" / "0.png").exists()

    other = put(stack, tmp_path, "spoilt", arrays(3))["version"]
    (upload,) = [path for path in stored(s3, "spoilt") if path.name == "upload"]
    upload.write_bytes(b"something else")
    job = stack.client.wait(stack.client.submit(on("spoilt"))["id"], timeout=60)
    assert (job["state"], job["error"]["code"]) == ("failed", "bad_data")
    assert "not those that were uploaded" in job["error"]["message"]
    assert not (copies / other).exists()


def test_the_operators_own_data_need_no_upload(stack: Stack):
    """A folder, arrays and a table below TRAINYARD_DATASETS_DIR; looked at again once they change."""
    data = Path(stack.environment["TRAINYARD_DATASETS_DIR"])
    for name, content in class_folders(**{"train/eel/0.png": class_folders()["train/cat/0.png"]}).items():
        (data / "pets" / name).parent.mkdir(parents=True, exist_ok=True)
        (data / "pets" / name).write_bytes(content)
    (data / "arrays.npz").write_bytes(arrays())
    (data / "table.csv").write_text("".join(["a,b,kind\n", *(f"{at},{at % 7},{'xyz'[at % 3]}\n" for at in range(60))]))
    stack.have_worker()
    for dataset in (
        {"type": "ImageFolder", "root": "pets", "test_split": 0.4},
        {"type": "Tensors", "file": "arrays.npz"},
        {"type": "Table", "file": "table.csv", "label_columns": "kind"},
    ):
        layers = [*(["Flatten"] if dataset["type"] != "Table" else []), {"type": "Linear", "out_features": 3}]
        spec = on("") | {"dataset": dataset, "model": {"type": "Sequential", "layers": layers}}
        job = stack.client.wait(stack.client.submit(spec)["id"], timeout=60)
        assert job["state"] == "succeeded", job["error"]

    (data / "pets" / "train" / "fox").mkdir()
    (data / "pets" / "train" / "fox" / "0.png").write_bytes(b"no image")
    for dataset, pointer, word in (
        ({"type": "ImageFolder", "root": "pets"}, "/dataset/root", "train/fox/0.png"),
        ({"type": "ImageFolder", "root": "pest"}, "/dataset/root", "pets"),
        ({"type": "ImageFolder", "root": "../.."}, "/dataset/root", "leads out"),
        ({"type": "Tensors", "file": "table.csv"}, "/dataset/type", "Table"),
    ):
        verdict = stack.client.validate(on("") | {"dataset": dataset})
        found = [(fault["pointer"], f"{fault['detail']} {fault['suggestion']}") for fault in verdict["errors"]]
        assert any(place == pointer and word in text for place, text in found), found


@pytest.mark.long
def test_two_gigabytes_take_little_of_the_apis_memory(stack: Stack, tmp_path: Path):
    """Less than 150 MB above idle, from the first byte to `ready`."""
    samples = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.uint8, shape=(2_800_000, 28, 28))
    generator = np.random.default_rng(0)
    for at in range(0, len(samples), 100_000):
        samples[at : at + 100_000] = generator.integers(0, 256, (100_000, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "big.npz", x=samples, y=np.arange(len(samples)) % 3)
    del samples
    assert (tmp_path / "big.npz").stat().st_size > 2 * 10**9
    idle = memory(stack.api_pid, "VmRSS")
    Path(f"/proc/{stack.api_pid}/clear_refs").write_text("5")

    sent = stack.client.push("big", tmp_path / "big.npz")
    found = stack.client.wait_dataset("big", sent["version"], timeout=600)

    assert found["state"] == "ready", found["flaws"]
    assert memory(stack.api_pid, "VmHWM") - idle < 150 * 10**6
    assert spooled(stack) == []
    stack.client.delete_dataset("big")


def memory(pid: int, name: str) -> int:
    """Bytes, of a process's status."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def test_pushing_stops_at_a_link(stack: Stack, tmp_path: Path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(BadRequest, match="link"):
        stack.client.push("links", tmp_path / "set")
