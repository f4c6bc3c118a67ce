"""What Flower is told of the doorbell: where it is, and what its queues are called (service/adapters/celery_doorbell.py)."""

from pathlib import Path

from kombu.entity import Queue

broker_url = Path("/run/trainyard/broker_url").read_text().strip()
broker_transport_options = {"global_keyprefix": "ty-bell:"}
task_queues = (Queue("cpu"), Queue("gpu"))  # type: ignore[no-untyped-call]  # kombu types half of itself
task_default_queue = "cpu"
