"""What is wrong with data, collected as it is found."""

from __future__ import annotations

from service.spec.content import Flaw

LISTED = 100


class BadData(Exception):
    """Data that cannot be read any further; carries the flaw that says where and why."""

    def __init__(self, flaw: Flaw) -> None:
        super().__init__(f"{flaw.entry}: {flaw.detail}" if flaw.entry else flaw.detail)
        self.flaw = flaw


class Flaws:
    """The first flaws, and how many there were besides."""

    def __init__(self) -> None:
        self.listed: list[Flaw] = []
        self.more = 0

    def add(self, code: str, detail: str, *, entry: str = "", suggestion: str | None = None) -> None:
        """Note a flaw."""
        if len(self.listed) < LISTED:
            self.listed.append(Flaw(entry=entry, code=code, detail=detail, suggestion=suggestion))
        else:
            self.more += 1

    def __bool__(self) -> bool:
        return bool(self.listed)


def bad(code: str, detail: str, *, entry: str = "", suggestion: str | None = None) -> BadData:
    """The error of one flaw."""
    return BadData(Flaw(entry=entry, code=code, detail=detail, suggestion=suggestion))
