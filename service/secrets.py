"""What the containers' parts must know and nobody else: a folder for each part, with no more in it than that part needs. `trainyard secrets` makes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from urllib.parse import unquote, urlsplit

REDIS = "redis"
"""The compose file's own Redis, by its name there. Users of another one are not ours to make."""
_MAY = {
    "redis_url": "~ty:* &ty:* +@all -@admin -@dangerous +info",
    "broker_url": "~ty-bell:* &ty-bell:* +@all -@admin -@dangerous +info",
}
"""By URL, what its user may do in Redis: the job store and its scripts see jobs, the doorbell sees rings."""


class SecretsFault(Exception):
    """The secrets that are there cannot be used, or none can be made; the text names the file and the cure."""


@dataclass(frozen=True)
class _Secret:
    """One value: who needs it, under which file name, and how it is made where nobody has it."""

    places: tuple[str, ...]
    make: Callable[[], str]


_SECRETS: Mapping[str, _Secret] = {
    "redis_url": _Secret(("api/redis_url", "worker/redis_url"), lambda: f"redis://jobs:{token_hex(24)}@{REDIS}:6379/0"),
    "broker_url": _Secret(
        ("api/broker_url", "worker/broker_url", "monitor/broker_url"), lambda: f"redis://doorbell:{token_hex(24)}@{REDIS}:6379/0"
    ),
    "s3_access_key": _Secret(("api/s3_access_key", "worker/s3_access_key", "minio/root_user"), lambda: token_hex(10)),
    "s3_secret_key": _Secret(("api/s3_secret_key", "worker/s3_secret_key", "minio/root_password"), lambda: token_hex(24)),
    "metrics_token": _Secret(("api/metrics_token", "monitor/metrics_token"), lambda: token_hex(24)),
    "api_key": _Secret(("api/api_key",), lambda: f"ty_{token_hex(24)}"),
}


def make(folder: Path) -> frozenset[str]:
    """Put every secret where it is needed; the names of those that had to be made.

    What one part has already, the others get; what somebody wrote by hand stays. Raises SecretsFault.
    """
    known = {name: _known(folder, secret.places) for name, secret in _SECRETS.items()}
    values = {name: value or _SECRETS[name].make() for name, value in known.items()}
    for name, secret in _SECRETS.items():
        for place in secret.places:
            if not (folder / place).exists():
                _write(folder / place, values[name])
    users = "".join(f"{line}\n" for line in _users(values))
    if _read(folder / "redis" / "users.acl") != users.strip():
        _write(folder / "redis" / "users.acl", users)
    return frozenset(name for name, value in known.items() if value is None)


def api_key(folder: Path) -> str:
    """The key that `make` made, or found."""
    return _known(folder, _SECRETS["api_key"].places) or ""


def _known(folder: Path, places: tuple[str, ...]) -> str | None:
    """The one value that stands in these places, as far as they are there."""
    found: dict[str, Path] = {}
    for place in places:
        if (value := _read(folder / place)) is not None:
            found.setdefault(value, folder / place)
    if len(found) > 1:
        one, other, *_ = found.values()
        raise SecretsFault(f"{one} and {other} have to be equal, and are not. Remove the one that is wrong.")
    return next(iter(found), None)


def _users(values: Mapping[str, str]) -> Iterator[str]:
    """Redis's users (its documentation: ACL), by the digests of their passwords. Whoever looks whether Redis lives may say PING, no more."""
    # nobody logs in as it, but as it Redis 7.0 reads its own AOF again, and leaves out the transactions that it may not do: all that scripts wrote
    yield "user default off ~* &* +@all"
    yield "user health on nopass resetchannels -@all +ping"
    names = {"default", "health"}
    for name, may in _MAY.items():
        url = urlsplit(values[name])
        if url.hostname != REDIS:
            continue
        user, password = unquote(url.username or ""), unquote(url.password or "")
        if not user or not password or user in names:
            raise SecretsFault(f"{name} has to be redis://USER:PASSWORD@{REDIS}:6379/0, with a user of its own.")
        names.add(user)
        yield f"user {user} on #{sha256(password.encode()).hexdigest()} resetchannels {may}"


def _read(path: Path) -> str | None:
    try:
        text = path.read_text().strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SecretsFault(f"{path} cannot be read ({error.strerror}). It has to belong to user {os.geteuid()}.") from error
    if not text:
        raise SecretsFault(f"{path} is empty. Remove it, and it is made anew.")
    return text


def _write(path: Path, text: str) -> None:
    """Whole or not at all, for its owner's eyes alone."""
    new = path.with_name(f".{path.name}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as out:
            out.write(text)
        new.replace(path)
    except OSError as error:
        raise SecretsFault(f"{path} cannot be written ({error.strerror}). Its folder has to belong to user {os.geteuid()}.") from error
