"""Signatures of webhooks, after Standard Webhooks 1.0 (github.com/standard-webhooks/standard-webhooks): HMAC-SHA256 over id, time and body."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

PREFIX = "whsec_"


def new_secret() -> str:
    """256 bits of chance, as receivers are given them."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signed(body: bytes, *, id: str, at: int, keys: Sequence[str]) -> dict[str, str]:
    """The three headers, with a signature by each key; `at` is the time of this attempt in seconds."""
    said = b".".join((id.encode(), str(at).encode(), body))
    signatures = [base64.b64encode(hmac.digest(_key(key), said, hashlib.sha256)).decode() for key in keys]
    return {"webhook-id": id, "webhook-timestamp": str(at), "webhook-signature": " ".join(f"v1,{each}" for each in signatures)}


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(PREFIX))
