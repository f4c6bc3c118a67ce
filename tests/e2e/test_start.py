"""What a process says when a part is missing at its start."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from service.local import free_port
from tests.servers import S3Server


@pytest.mark.parametrize("module", ["service.main", "worker.main"])
def test_without_a_store_a_process_says_so_and_ends(module: str):
    """One line that names the variable; no traceback."""
    environment = {**os.environ, "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}

    done = subprocess.run([sys.executable, "-m", module], env=environment, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    assert "REDIS_URL" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_storage_the_api_says_so_and_ends(redis_url: str, s3: S3Server):
    """One line that names the variable; no traceback."""
    environment = {**os.environ, "REDIS_URL": redis_url, **s3.environment(), "S3_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}

    done = subprocess.run([sys.executable, "-m", "service.main"], env=environment, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    assert "S3_ENDPOINT_URL" in done.stderr
    assert "Traceback" not in done.stderr
