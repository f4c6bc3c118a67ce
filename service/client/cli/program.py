"""Runs the command; every error of ours ends in one clear message and its exit code."""

from __future__ import annotations

import sys

from service import local
from service.client.cli import (  # noqa: F401  # each registers its commands, in the order of the help
    alone,
    running,
    submitting,
    spec,
    catalog,
    watching,
    acting,
    results,
    comparing,
    datasets,
    installation,
)
from service.client.cli.app import app
from service.client.cli.printing import err, show_faults
from service.client.errors import ClientError, Rejected
from service.spec.verdict import SpecFaults


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
