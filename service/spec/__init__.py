"""What a user may ask for: the job spec as closed, typed records. Pure: pydantic and the standard library; torch is never imported."""

from pathlib import Path

EXAMPLES = Path(__file__).parent / "examples"
"""Specs that run as they are, a file each."""
