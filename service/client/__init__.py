"""The Python SDK and the `trainyard` command. Talks HTTP only; never imports torch.

>>> from service.client import Client
>>> job = Client().submit("job.yaml").wait()
"""

from service.client.declaring import from_torch
from service.client.errors import (
    BadRequest,
    CannotDeclare,
    ClientError,
    Conflict,
    Corrupt,
    JobFailed,
    NotFound,
    NotTrainyard,
    Refused,
    Rejected,
    Unreachable,
)
from service.client.handle import Job
from service.client.rows import Rows
from service.client.sdk import Client

__all__ = [
    "BadRequest",
    "CannotDeclare",
    "Client",
    "ClientError",
    "Conflict",
    "Corrupt",
    "Job",
    "JobFailed",
    "NotFound",
    "NotTrainyard",
    "Refused",
    "Rejected",
    "Rows",
    "Unreachable",
    "from_torch",
]
