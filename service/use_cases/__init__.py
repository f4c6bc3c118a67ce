"""What users can do, as plain functions of the ports. Each reads as a page of named steps; none knows HTTP, Redis or S3."""

from service.use_cases.asking import cancel, delete, pause, resume
from service.use_cases.reading import artifact, estimated_start, events, is_expected, logs, manifest, metrics, read_artifact
from service.use_cases.services import Services
from service.use_cases.submitting import new_id, retry, submit, submit_recalled, validate

__all__ = [
    "Services",
    "artifact",
    "cancel",
    "delete",
    "estimated_start",
    "events",
    "is_expected",
    "logs",
    "manifest",
    "metrics",
    "new_id",
    "pause",
    "read_artifact",
    "resume",
    "retry",
    "submit",
    "submit_recalled",
    "validate",
]
