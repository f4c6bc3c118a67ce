"""What users can do, as plain functions of the ports. Each reads as a page of named steps; none knows HTTP, Redis or S3."""

from service.tidying import usage
from service.use_cases.asking import cancel, delete, pause, resume
from service.use_cases.checkpoints import Kept, checkpoint_file, checkpoint_url, checkpoints, content_type, read_checkpoint
from service.use_cases.curves import curve
from service.use_cases.datasets import (
    Received,
    all_datasets,
    check_name,
    check_room,
    find_dataset,
    look_at_one,
    read_dataset,
    remove_dataset,
    take_in,
)
from service.use_cases.notifying import deliveries, replay, rotate_secret, secret
from service.use_cases.predicting import predict
from service.use_cases.queueing import Waiting, own_jobs, queue, workers
from service.use_cases.reading import (
    Named,
    Whose,
    artifact,
    artifact_url,
    estimated_start,
    events,
    is_expected,
    logs,
    manifest,
    metric_lines,
    metrics,
    read_artifact,
    steps,
)
from service.use_cases.services import Services
from service.use_cases.submitting import new_id, retry, script, submit, submit_recalled, validate

__all__ = [
    "Kept",
    "Named",
    "Received",
    "Services",
    "Waiting",
    "Whose",
    "all_datasets",
    "artifact",
    "artifact_url",
    "cancel",
    "check_name",
    "check_room",
    "checkpoint_file",
    "checkpoint_url",
    "checkpoints",
    "content_type",
    "curve",
    "delete",
    "deliveries",
    "estimated_start",
    "events",
    "find_dataset",
    "is_expected",
    "logs",
    "look_at_one",
    "manifest",
    "metric_lines",
    "metrics",
    "new_id",
    "own_jobs",
    "pause",
    "predict",
    "queue",
    "read_artifact",
    "read_checkpoint",
    "read_dataset",
    "remove_dataset",
    "replay",
    "resume",
    "retry",
    "rotate_secret",
    "script",
    "secret",
    "steps",
    "submit",
    "submit_recalled",
    "take_in",
    "usage",
    "validate",
    "workers",
]
