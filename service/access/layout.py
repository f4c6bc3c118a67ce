"""Where records of keys, projects and what was done lie in storage."""

from service.access.keys import Key

ACCESS_PREFIX = "access/"
AUDIT_PREFIX = "audit/"


def key_record(key: Key) -> str:
    """One object for each version: whoever writes an older one late overwrites nothing."""
    return f"{ACCESS_PREFIX}keys/{key.id}/{key.version}.json"


def project_record(name: str) -> str:
    """The project's record."""
    return f"{ACCESS_PREFIX}projects/{name}.json"


def audit_piece(day: str, first: str, last: str) -> str:
    """What was done on a day, from one id to another, one JSON object a line. Never written to again; two may overlap."""
    return f"{AUDIT_PREFIX}{day}/{first}_{last}.jsonl"
