"""What the shell offers at Tab: ids of jobs, names of data sets and examples. Silent, and done at once, where the service is away."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httpx2

from service.client import config
from service.client.errors import ClientError
from service.spec import EXAMPLES

SECONDS = 0.5


def job_ids(incomplete: str) -> list[tuple[str, str]]:
    """The newest jobs, with their names."""
    return _starting(incomplete, ((job["id"], f"{job['state']} {job['name'] or ''}".strip()) for job in _asked("/v1/jobs?limit=50")))


def dataset_names(incomplete: str) -> list[tuple[str, str]]:
    """Uploaded data sets."""
    return _starting(incomplete, dict.fromkeys((each["name"], each["state"]) for each in _asked("/v1/datasets")))


def example_names(incomplete: str) -> list[tuple[str, str]]:
    """The examples that come with the command."""
    return _starting(incomplete, ((path.stem, "") for path in sorted(EXAMPLES.glob("*.yaml"))))


def _starting(incomplete: str, offered: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, about) for name, about in offered if name.startswith(incomplete)]


def _asked(path: str) -> list[dict[str, Any]]:
    """One quick question without a second try: an error message at Tab would only be in the way."""
    try:
        found = config.read()
        headers = {"Authorization": f"Bearer {found.api_key.value}"} if found.api_key.value else {}
        headers |= {"Trainyard-Project": found.project.value} if found.project.value else {}
        answer = httpx2.get(f"{found.url.value}{path}", headers=headers, timeout=SECONDS, trust_env=False)
        return list(answer.json()["data"]) if answer.is_success else []
    except (httpx2.HTTPError, httpx2.InvalidURL, ClientError, ValueError, KeyError, TypeError):
        return []
