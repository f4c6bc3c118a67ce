"""Files that are hashed while they are written: the bytes are the library's own, the digest is theirs, a full disk is an OSError."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from worker.training.buffer import Buffer
from worker.training.files import Hashed, save_weights

TENSORS = {
    "b.weight": torch.arange(12, dtype=torch.float32).reshape(3, 4),
    "a.weight": torch.arange(12, dtype=torch.float32).reshape(3, 4).t(),
    "a.half": torch.ones(3, dtype=torch.bfloat16),
    "steps": torch.tensor(7),
    "flags": torch.tensor([True, False, True]),
    "none": torch.zeros(0, 5),
    "größe": torch.ones(2, dtype=torch.float64),
    "image": torch.arange(120, dtype=torch.float32).reshape(2, 3, 4, 5).to(memory_format=torch.channels_last),
}


@pytest.mark.parametrize("tensors", [TENSORS, {}, {"z": torch.ones(2, dtype=torch.complex64)}], ids=["many", "none", "another dtype"])
def test_weights_are_what_safetensors_writes(tensors: dict[str, torch.Tensor], tmp_path: Path):
    """Byte for byte."""
    save_weights(tensors, tmp_path / "model.safetensors")

    assert (tmp_path / "model.safetensors").read_bytes() == save({name: tensor.contiguous() for name, tensor in tensors.items()})


def test_the_digest_is_the_files(tmp_path: Path):
    """Of all that was written, in whatever pieces."""
    with Hashed(tmp_path / "state.pt") as file:
        torch.save(TENSORS, file)
        file.write(b"more")

    data = (tmp_path / "state.pt").read_bytes()
    assert file.described() == {"path": "state.pt", "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def test_a_full_disk_is_an_oserror():
    """Of `torch.save` too."""
    with pytest.raises(OSError, match="No space left") as caught, Hashed(Path("/dev/full")) as file:
        torch.save(TENSORS, file)

    assert caught.value.errno == errno.ENOSPC


def test_a_buffer_gives_back_what_it_was_given():
    """Numbers, forms and strides; all else as it is, tuples as lists."""
    buffer = Buffer()
    value = {"tensors": TENSORS, "more": [1, None, ("x", torch.ones(2))]}

    held = buffer.read(buffer.hold(value))

    for name, tensor in TENSORS.items():
        assert torch.equal(held["tensors"][name], tensor)
        assert (held["tensors"][name].dtype, held["tensors"][name].stride()) == (tensor.dtype, tensor.stride())
    assert held["more"][:2] == [1, None]
    assert held["more"][2][0] == "x"
    buffer.close()


def test_a_buffer_is_used_again():
    """The second snapshot lies where the first lay."""
    buffer = Buffer()
    first = buffer.read(buffer.hold([torch.zeros(1000)]))

    second = buffer.read(buffer.hold([torch.ones(1000)]))

    assert first[0].data_ptr() == second[0].data_ptr()
    assert first[0].equal(torch.ones(1000))
    buffer.close()
