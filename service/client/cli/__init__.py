"""The `trainyard` command. Data to stdout, messages to stderr.

Exit codes: 0 ok, 1 job failed, 2 usage, 3 spec rejected, 4 not found, 5 service unreachable, 6 cancelled, 7 wait timed out, 130 interrupted.
"""

from service.client.cli.app import app
from service.client.cli.program import main

__all__ = ["app", "main"]
