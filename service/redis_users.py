"""What each of the two Redis users may do: which keys, channels and commands. The one place that says so; no connection is made here."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

STORE_USER = "trainyard-store"
BROKER_USER = "trainyard-broker"

STORE_KEYS, STORE_CHANNELS = "ty:*", ("ty:changed",)
BROKER_KEYS = "ty-bell:*"
"""Every key of Celery's, whatever kombu calls it: queues, each worker's own one, bindings, and where it keeps what nobody acknowledged."""
BROKER_CHANNELS = ("ty-bell:*", "ty-bell:/0.celeryev/*", "ty-bell:/0.celery.pidbox")
"""Our workers neither send events nor take orders; a monitor such as Flower listens and asks. Redis compares a pattern letter by letter."""

CONNECTION = ("+@connection", "-@dangerous", "-client|tracking")
"""What a client says of itself. As a group, for CLIENT SETINFO cannot be named in Redis 7.0, which has none; without what is an operator's, and
without hearing of other users' keys.
"""
TRANSACTIONS = ("multi", "exec", "discard")
SCRIPTS = ("evalsha", "script|exists", "script|load")
STORE_COMMANDS = (
    *("del", "exists", "expire", "pexpire", "get", "mget", "persist", "set", "setnx"),
    *("hdel", "hexists", "hget", "hgetall", "hincrby", "hlen", "hmget", "hset", "hsetnx", "hvals"),
    *("lindex", "llen", "lpush", "lrange", "lset", "ltrim", "rpush"),
    *("sadd", "scard", "sismember", "smembers", "srandmember", "srem"),
    *("xadd", "xrange", "xrevrange"),
    *("zadd", "zcard", "zcount", "zrange", "zrangebyscore", "zrank", "zrem", "zremrangebyscore", "zrevrange", "zrevrangebyscore", "zscore"),
    *("publish", "subscribe", "unsubscribe"),
    "time",
    "info",  # SUBMIT asks how full the memory is
)
BROKER_COMMANDS = (
    *("brpop", "llen", "lpush", "rpop", "rpush", "del", "pexpire"),
    *("sadd", "smembers", "srem"),
    *("exists", "time", "zadd", "zrangebyscore", "zrem"),  # which queues of workers have gone
    *("hdel", "hget", "hset", "zrange"),  # what nobody acknowledged yet
    *("set", "get", "watch", "unwatch"),  # a lock, for who gives that back
    *("publish", "psubscribe", "punsubscribe"),
)


NOBODY = "user default off resetpass ~* &* +@all"
"""Whoever gives no name: nobody logs in as it. It may do everything because Redis 7.0 reads its own AOF again as this user, and would leave
out the transactions that it may not do, which are all that scripts wrote."""


def acl_lines(*, store_password: str, broker_password: str) -> Sequence[str]:
    """The lines of an ACL file: both users, and nobody else. It holds the passwords as SHA-256, so long random ones alone are safe in it."""
    return (NOBODY, store_line(store_password), broker_line(broker_password))


def store_line(password: str) -> str:
    """The user that keeps jobs."""
    return _user(STORE_USER, password, keys=STORE_KEYS, channels=STORE_CHANNELS, commands=STORE_COMMANDS)


def broker_line(password: str) -> str:
    """The user that rings."""
    return _user(BROKER_USER, password, keys=BROKER_KEYS, channels=BROKER_CHANNELS, commands=BROKER_COMMANDS)


def _user(name: str, password: str, *, keys: str, channels: Sequence[str], commands: Sequence[str]) -> str:
    allowed = [*CONNECTION, *(f"+{command}" for command in (*TRANSACTIONS, *SCRIPTS, *commands))]
    secret = f"#{sha256(password.encode()).hexdigest()}"
    return " ".join(
        ["user", name, "on", secret, "resetkeys", f"~{keys}", "resetchannels", *(f"&{each}" for each in channels), "-@all", *allowed]
    )
