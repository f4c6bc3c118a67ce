"""Writes a job as the textbook's program: `train.py`, plain PyTorch, no Trainyard. The same spec, the same weights, bit for bit on CPU."""

from worker.training.script.program import render

__all__ = ["render"]
