"""What the API tells of jobs, as HTTP has it. Where no training is needed, the jobs are made by the store's own calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.e2e.stack import Stack


@pytest.fixture
def http(stack: Stack) -> Iterator[httpx2.Client]:
    """The API on an empty store, asked without the SDK."""
    with httpx2.Client(base_url=stack.client.url, timeout=30, trust_env=False) as client:
        yield client


def names(answer: httpx2.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [job["name"] for job in answer.json()["data"]]


def test_the_list_is_searched_and_sorted(http: httpx2.Client, stack: Stack, small: dict[str, Any]) -> None:
    """By text and by name, page after page; what cannot be sorted by, and a cursor of another order, is a 422."""
    for name in ("Cherry", "apple", "banana"):
        stack.client.submit(small | {"name": name, "labels": {"kind": "fruit"}})

    first = http.get("/v1/jobs", params={"sort": "name", "limit": 2})
    second = http.get("/v1/jobs", params={"sort": "name", "limit": 2, "cursor": first.json()["next_cursor"]})

    assert names(first) + names(second) == ["apple", "banana", "Cherry"]
    assert (second.json()["next_cursor"], second.json()["only_newest"]) == (None, None)
    assert names(http.get("/v1/jobs", params={"sort": "-name", "q": "AN"})) == ["banana"]
    assert len(names(http.get("/v1/jobs", params={"q": "digits"}))) == 3
    assert [job["name"] for job in stack.client.jobs(q="kind:fruit", sort="-name", limit=1)["data"]] == ["Cherry"]
    for wrong in ({"sort": "no key"}, {"sort": "-name", "cursor": "nonsense"}, {"q": "x" * 201}):
        refused = http.get("/v1/jobs", params=wrong)
        assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")
