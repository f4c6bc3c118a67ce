"""Reads TensorBoard's event files: what a job wrote there, without TensorBoard."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event


def scalars(folder: Path) -> Iterator[tuple[str, float, int, float]]:
    """(name, value, step, wall time) of each, in the order of the one file: TFRecords, each a length, a checksum, the event, a checksum."""
    (path,) = folder.iterdir()
    data, at = path.read_bytes(), 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        event = Event.FromString(data[at + 12 : at + 12 + length])
        at += 12 + length + 4
        for value in event.summary.value:
            yield value.tag, value.simple_value, event.step, event.wall_time
