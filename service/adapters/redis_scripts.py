"""The Lua calls, and where Redis's errors become ours. What the calls mean is told in `lua/`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError
from redis.retry import Retry

from service.adapters.redis_faults import STORE, is_refusal, unavailable
from service.adapters.sockets import TCP_OPTIONS
from service.jobs.errors import NewerFormat, StoreUnavailable

SOCKET_SECONDS = 5
FORMAT = 1
"""The version of the keys, raised where an older process would misread or spoil them (ADR 19)."""
FOLDER = Path(__file__).with_name("lua")
OUT_OF_SERVICE = ("MISCONF", "LOADING", "MASTERDOWN", "NOREPLICAS", "BUSY", "OOM")
"""First words of replies that say Redis cannot do its work now; any other error reply is a defect of ours."""


def open_client(url: str, *, socket_seconds: float = SOCKET_SECONDS) -> redis.Redis:
    """A client with time-outs and a few retries; it connects when first used."""
    return redis.Redis.from_url(
        url,
        socket_timeout=socket_seconds,
        socket_connect_timeout=socket_seconds,
        socket_keepalive=True,
        socket_keepalive_options=TCP_OPTIONS,
        health_check_interval=25,
        # one that hangs is not asked again: each try would make the caller wait as long once more, and a new connection's own tries with it
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), 2, supported_errors=(redis.ConnectionError,)),
    )


def admit(client: redis.Redis) -> None:
    """Whether this version may work on these keys; says of new ones that they are its own. Raises NewerFormat, StoreUnavailable."""
    with our_errors():
        found: Any = client.get("ty:format")
        if found is None:
            client.set("ty:format", FORMAT, nx=True)
    if found is not None and int(found) > FORMAT:
        raise NewerFormat(int(found), known=FORMAT)


@contextmanager
def our_errors(*, variable: str = STORE, url: str | None = None) -> Iterator[None]:
    """Turn what Redis raises while it cannot work into StoreUnavailable."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError, redis.InvalidResponse, OutOfMemoryError, ReadOnlyError) as error:
        raise unavailable(error, variable=variable, url=url) from error
    except ResponseError as error:
        if is_refusal(error):
            raise unavailable(error, variable=variable) from error
        if str(error).startswith(OUT_OF_SERVICE):
            raise StoreUnavailable(f"Redis cannot work now: {error}") from error
        raise


class Scripts:
    """Runs a Lua file by name, by its digest where Redis has it already. The first argument of each is the time: Redis's own, or a test's."""

    def __init__(self, client: redis.Redis, *, now_ms: Callable[[], int] | None = None) -> None:
        self.client, self._now_ms = client, now_ms
        shared = (FOLDER / "shared.lua").read_text()
        self._scripts = {path.stem: client.register_script(_whole(path, shared)) for path in FOLDER.glob("*.lua") if path.stem != "shared"}

    def call(self, name: str, *args: str | bytes | float) -> Any:
        """The script's answer. Raises StoreUnavailable."""
        with our_errors():
            return self._scripts[name](args=[self._now(), *args])

    def command(self, name: str, *args: str | bytes | float) -> Sequence[str | bytes | float]:
        """The script as a command; Redis refuses it until it has been called once."""
        return "EVALSHA", self._scripts[name].sha, 0, self._now(), *args

    def _now(self) -> str | int:
        return "" if self._now_ms is None else self._now_ms()


def _whole(path: Path, shared: str) -> str:
    shebang, _, body = path.read_text().partition("\n")
    return f"{shebang}\n{shared}\n{body}"
