"""Runs a training program until its first optimizer step is done, and prints that time: `python -m tests.bench.first_step train.py ...`."""

from __future__ import annotations

import os
import runpy
import sys
import time

from torch.optim.optimizer import register_optimizer_step_post_hook


def _end(*_: object) -> None:
    print(time.time(), flush=True)
    os._exit(0)


if __name__ == "__main__":
    register_optimizer_step_post_hook(_end)
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
