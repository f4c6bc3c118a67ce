"""Whether the endpoints of a spec may be told, as a user hears it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from service.adapters import memory
from service.use_cases.notifying import looked_at
from service.webhooks.ports import Looked, Reach
from tests.services import services_of

CLOSED = Looked(refusal="its address is not one of the public Internet (loopback)")


class Answers:
    """Answers as it is told, and remembers what it was asked."""

    def __init__(self, **answers: Looked) -> None:
        self.answers, self.asked = answers, list[str]()

    def look(self, urls: Sequence[str]) -> Sequence[Looked]:
        self.asked += urls
        return [next((answer for word, answer in self.answers.items() if word in url), Looked()) for url in urls]


def looked(notify: Any, reach: Reach | None) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    services = services_of(memory.stores(now=lambda: datetime.now(tz=UTC)), reach=reach)
    faults, warnings = looked_at({"notify": notify}, services=services)
    return [(each.pointer, each.code) for each in faults], [(each.pointer, each.code) for each in warnings]


def test_each_endpoint_is_named_by_its_place() -> None:
    notify = [{"url": f"https://{name}.example/x"} for name in ("good", "closed", "unknown")] + [{"url": "https://hooks.example.com/…"}]
    reach = Answers(closed=CLOSED, unknown=Looked(resolved=False))

    assert looked(notify, reach) == (
        [("/notify/1/url", "closed_address"), ("/notify/3/url", "hidden_url")],
        [("/notify/2/url", "unresolved_host")],
    )
    assert reach.asked == [f"https://{name}.example/x" for name in ("good", "closed", "unknown")]


def test_what_cannot_be_read_is_looked_up_nowhere() -> None:
    """Who reads the whole spec says what is wrong with it."""
    reach = Answers()

    assert looked([{"url": "https://good.example/"}, {"url": "ftp://x"}], reach) == ([], [])
    assert looked("https://good.example/", reach) == ([], [])
    assert looked([], reach) == ([], [])
    assert reach.asked == []


def test_where_nothing_is_sent_nobody_can_ask_for_it() -> None:
    assert looked([{"url": "https://good.example/"}], None) == ([("/notify", "webhooks_off")], [])
    assert looked([], None) == ([], [])
