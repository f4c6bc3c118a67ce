"""The audit log as requests make it: a note of every change and every refusal, written beside the requests."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.access.audit import AuditLog, Entry
from service.access.principal import Principal, Role

COUNTED = timedelta(minutes=1)
"""How long refusals that are alike are only counted: nobody fills the log by asking."""
MOST_ALIKE = 1000
"""Kinds of refusals that are told apart; more in a minute are counted as one."""
MOST_WAITING = 100_000
REFUSED = (401, 403, 429)
UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})

_Kind = tuple[str | None, str, int, str | None]


@dataclass
class Recorder:
    """Notes that wait to be written: `note` never blocks, `flush` is called every so often."""

    log: AuditLog
    now: Callable[[], datetime] = lambda: datetime.now(tz=UTC)
    _waiting: deque[Entry] = field(default_factory=lambda: deque(maxlen=MOST_WAITING))
    _alike: dict[_Kind, Entry] = field(default_factory=dict)
    """The last entry of refusals of a kind, with how many there were since it was written."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, entry: Entry) -> None:
        """One more."""
        if entry.outcome not in REFUSED:
            self._waiting.append(entry)
            return
        with self._lock:
            kind: _Kind = (entry.key_id, entry.action, entry.outcome, entry.address)
            if kind not in self._alike and len(self._alike) >= MOST_ALIKE:
                entry = entry.model_copy(update={"key_id": None, "action": "many", "object": None, "address": None})
                kind = (None, "many", entry.outcome, None)
            if kind in self._alike:
                before = self._alike[kind]
                self._alike[kind] = before.model_copy(update={"times": before.times + 1})
            else:
                self._alike[kind] = entry.model_copy(update={"times": 0})
                self._waiting.append(entry)

    def flush(self) -> None:
        """Write what waits. Raises StoreUnavailable; then it waits on."""
        with self._lock:
            self._settle()
            entries = list(self._waiting)
            if entries:
                self.log.append(entries)
                for _ in entries:
                    self._waiting.popleft()

    def _settle(self) -> None:
        """What was counted for a minute is an entry."""
        since = self.now() - COUNTED
        for kind, entry in list(self._alike.items()):
            if entry.at <= since:
                del self._alike[kind]
                if entry.times:
                    self._waiting.append(entry.model_copy(update={"at": self.now()}))


class Auditing:
    """Notes what is to be noted of each answer, with the id that its request has (service/api/observing.py)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application, as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                _look_at(scope, message)
            await send(message)

        await self._app(scope, receive, sending)


def _look_at(scope: Scope, message: Message) -> None:
    """Note the answer, where it is to be noted: a change, or a refusal of access."""
    status, state = message["status"], scope.get("state", {})
    needed: Role | None = state.get("needed")
    if status not in REFUSED and (scope["method"] not in UNSAFE or needed is Role.READ or "route" not in scope):
        return
    recorder: Recorder = scope["app"].state.recorder
    principal: Principal | None = state.get("principal")
    client = scope.get("client")
    recorder.note(
        Entry(
            at=recorder.now(),
            key_id=principal.key_id if principal else state.get("key_id"),
            project=principal.project if principal else None,
            action=f"{scope['method']} {getattr(scope.get('route'), 'path', scope['path'])}",
            object=_object(scope, message),
            outcome=status,
            address=client[0] if client else None,
            request_id=state["request_id"],
        )
    )


def recorder_of(request: Request) -> Recorder:
    """Where the notes are."""
    recorder: Recorder = request.app.state.recorder
    return recorder


def _object(scope: Scope, message: Message) -> str | None:
    """What the request was about: the parts of its path that were chosen, or what it made."""
    if chosen := scope.get("path_params"):
        return "/".join(str(part) for part in chosen.values())[:200]
    made = next((value for name, value in message["headers"] if name == b"location"), b"")
    return made.decode("latin-1").rpartition("/")[2][:200] or None if made.startswith(b"/v1/") else None
