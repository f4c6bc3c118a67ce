"""Where things lie in storage: S3 keys as pure functions, so that no two places spell them differently."""


def job_prefix(project: str, job_id: str) -> str:
    """The folder of one job; ends with a slash."""
    return f"projects/{project}/jobs/{job_id}/"


def home_of(prefix: str) -> str:
    """The job in whose folder a prefix or a key lies."""
    return prefix.split("/")[3]


def attempts_prefix(project: str, job_id: str) -> str:
    """The folder of all attempts."""
    return job_prefix(project, job_id) + "attempts/"


def record_key(project: str, job_id: str) -> str:
    """The job's record, from which Redis can be rebuilt."""
    return job_prefix(project, job_id) + "job.json"


def events_key(project: str, job_id: str) -> str:
    """The events of an ended job, one JSON object a line."""
    return job_prefix(project, job_id) + "events.jsonl"


def metrics_key(project: str, job_id: str) -> str:
    """The metric rows of an ended job, one JSON object a line."""
    return job_prefix(project, job_id) + "metrics.jsonl"


def steps_key(project: str, job_id: str) -> str:
    """The logged steps of a job, `[step,epoch,train_loss,lr]` a line: a third of what objects with names would take."""
    return job_prefix(project, job_id) + "steps.jsonl"


def logs_key(project: str, job_id: str) -> str:
    """The log lines of an ended job."""
    return job_prefix(project, job_id) + "logs.txt"


def attempt_prefix(project: str, job_id: str, token: int) -> str:
    """The only folder an attempt writes to: its own fencing token's."""
    return f"{attempts_prefix(project, job_id)}{token}/"


def checkpoint_prefix(project: str, job_id: str, token: int, step: int) -> str:
    """One checkpoint; its manifest.json, written last, is its commit."""
    return f"{attempt_prefix(project, job_id, token)}checkpoints/{step}/"


def artifacts_prefix(project: str, job_id: str, token: int) -> str:
    """What the user takes home; manifest.json, written last, is its commit."""
    return f"{attempt_prefix(project, job_id, token)}artifacts/"
