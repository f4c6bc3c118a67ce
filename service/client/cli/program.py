"""Runs the command; every error of ours ends in one clear message and its exit code."""

from __future__ import annotations

import sys

from service import local
from service.client.cli.app import app
from service.client.cli.printing import err, show_faults
from service.client.errors import ClientError, Rejected
from service.spec.verdict import SpecFaults

# each registers its commands, and the help lists them in this order
# isort: off
from service.client.cli import alone, running, keeping  # noqa: F401
from service.client.cli import submitting, spec, catalog  # noqa: F401
from service.client.cli import watching, acting  # noqa: F401
from service.client.cli import results, comparing  # noqa: F401
from service.client.cli import datasets, notifying, keys, quotas, installation  # noqa: F401
# isort: on


def main() -> None:
    """Run the command of `sys.argv`; ends the process."""
    try:
        app(standalone_mode=True, prog_name="trainyard")
    except ClientError as error:
        err.print(f"trainyard: {error}")
        show_faults(error.faults, getattr(error, "places", None))
        sys.exit(error.exit_code)
    except local.CannotStart as error:
        err.print(f"trainyard: {error}")
        sys.exit(1)
    except SpecFaults as error:
        err.print("trainyard: This is no job spec.")
        show_faults([fault.model_dump() for fault in error.faults])
        sys.exit(Rejected.exit_code)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        err.print(f"trainyard: {where}{error.strerror or error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
