"""How every process logs: plain lines, or JSON lines that say what each is about; with no secret in either. Nothing else configures logging."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType, TracebackType
from typing import Literal

Format = Literal["text", "json"]
ACCESS = "trainyard.access"
"""Of whoever tells of each request. As text it is silent: a line for each poll would bury the rest."""
QUIET = ("celery", "kombu", "botocore", "boto3", "s3transfer", "urllib3", "uvicorn", "httpx2")
"""Libraries whose every step is no news."""
HIDDEN = "***"
SHORTEST = 4
"""What is shorter is no secret, but would hide half of the words."""
_SECRET = re.compile(
    r"(?<=://)(?P<user>[^\s/:@]*:)[^\s/@]+(?=@)|(?i:(?P<scheme>\bbearer\s+))[^\s\"',]+|(?P<name>\bX-Amz-(?:Signature|Credential)=)[^\s&]+"
)
_about: ContextVar[Mapping[str, object]] = ContextVar("about", default=MappingProxyType({}))
log = logging.getLogger("trainyard")


@contextmanager
def about(**facts: object) -> Iterator[None]:
    """Every line of the block, and of what runs in a copy of its context, is about these: job, attempt, project, request_id."""
    token = _about.set({**_about.get(), **facts})
    try:
        yield
    finally:
        _about.reset(token)


class Redacted:
    """Takes secrets out of texts: those that are known, passwords in URLs, bearer keys, signatures."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = sorted({secret for secret in secrets if len(secret) >= SHORTEST}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, text: str) -> str:
        """The text without them."""
        text = _SECRET.sub(lambda found: f"{found['user'] or found['scheme'] or found['name'] or ''}{HIDDEN}", text)
        return self._known.sub(HIDDEN, text) if self._known else text


class PlainLines(logging.Formatter):
    """A line for people."""

    def __init__(self, redacted: Redacted) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._redacted = redacted

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return self._redacted(super().format(record))


class JsonLines(logging.Formatter):
    """A JSON object a line: time, level, logger, message, and what it is about."""

    def __init__(self, redacted: Redacted, process: Mapping[str, object]) -> None:
        super().__init__()
        self._redacted, self._process = redacted, process

    def format(self, record: logging.LogRecord) -> str:
        """The line. What is no text, number or truth is told as text."""
        told: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._process,
            **_about.get(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        plain = {
            name: value if isinstance(value, int | float | bool | None) else self._redacted(str(value)) for name, value in told.items()
        }
        return json.dumps(plain, ensure_ascii=False)


def configure(format: Format, *, secrets: Iterable[str] = (), **process: object) -> None:
    """Have all loggers of this process, its warnings and what no thread caught go to stderr so. `process` is what each JSON line says of it."""
    redacted = Redacted(secrets)
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines(redacted, process) if format == "json" else PlainLines(redacted))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger(ACCESS).setLevel(logging.INFO if format == "json" else logging.WARNING)
    logging.captureWarnings(capture=True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda told: _uncaught(told.exc_type, told.exc_value, told.exc_traceback)


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    log.critical("nobody caught this, in thread %s", threading.current_thread().name, exc_info=(kind, error or kind(), trace))
