"""A worker whose broker delivers again, after two seconds already, what was not acknowledged: `python -m tests.e2e.faults.impatient_worker ...`."""

from __future__ import annotations

import sys
from functools import partial

import worker.main
from service.adapters.celery_doorbell import celery_app

if __name__ == "__main__":
    worker.main.celery_app = partial(celery_app, visibility_seconds=2)
    sys.exit(worker.main.main())
