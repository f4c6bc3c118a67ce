"""How things stand in Redis, for monitors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

from service.adapters.redis_housekeeping import beat_of
from service.adapters.redis_scripts import Scripts
from service.adapters.stores import from_ms
from service.jobs.job import Device
from service.jobs.ports import Line, Standing


class RedisMonitor:
    """The Monitor port."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    def standing(self) -> Standing:
        """Now."""
        now, queues, running, beats, unsaved, since, to_look_at, used, most, counts = self._scripts.call("standing")
        flat = [each.decode() for each in counts]
        return Standing(
            at=from_ms(int(now)),
            lines=_lines(queues, running),
            workers=[beat_of(beat) for beat in beats],
            unsaved=unsaved,
            unsaved_since=from_ms(float(since)) if since else None,
            to_look_at=to_look_at,
            used_bytes=int(used),
            most_bytes=int(most),
            counts={tuple(name.split("|")): int(value) for name, value in zip(flat[::2], flat[1::2], strict=True)},
        )


def _lines(queues: Sequence[Any], running: Sequence[Any]) -> Sequence[Line]:
    runs = Counter((device.decode(), project.decode()) for device, project in running)
    waits = {(device.decode(), project.decode()): (waiting, from_ms(int(oldest))) for device, project, waiting, oldest in queues}
    return [
        Line(device=cast("Device", place[0]), project=place[1], waiting=waiting, oldest_at=oldest, running=runs[place])
        for place in sorted({*runs, *waits})
        for waiting, oldest in [waits.get(place, (0, None))]
    ]
