"""What a worker process is told by its environment."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pydantic import AliasChoices, Field

from service.settings import StoreSettings


class WorkerSettings(StoreSettings):
    """The stores' settings and a worker's own."""

    work_dir: Path = Field(default=Path(tempfile.gettempdir()) / "trainyard-work", validation_alias=AliasChoices("TRAINYARD_WORK_DIR"))
    """Attempts' folders, fetched and decoded data sets; safe to delete while no worker runs."""
    datasets_dir: Path | None = Field(default=None, validation_alias=AliasChoices("TRAINYARD_DATASETS_DIR"))
    """Data sets in torchvision's layout, looked at first and never written to."""
    cache_bytes: int = Field(default=16 * 1024**3, ge=0, validation_alias=AliasChoices("TRAINYARD_CACHE_BYTES"))
    """What decoded data sets under `work_dir` may take, so that they are decoded once; 0 keeps none."""
    stall_seconds: float = Field(default=600, gt=0, validation_alias=AliasChoices("TRAINYARD_STALL_SECONDS"))
    deaf_seconds: float = Field(default=60, gt=0, validation_alias=AliasChoices("TRAINYARD_DEAF_SECONDS"))
    """How long an idle worker's rings to itself may go unheard before it ends, to be started again."""
    storage_patience_seconds: float = Field(default=3600, gt=0, validation_alias=AliasChoices("TRAINYARD_STORAGE_PATIENCE_SECONDS"))
    """How long uploads wait for storage to come back before the job fails, and what was not uploaded is kept on the worker."""
    beat_file: Path | None = Field(default=None, validation_alias=AliasChoices("TRAINYARD_BEAT_FILE"))
    """Touched whenever the registry has taken this worker's beat: whether it works can be seen without asking anybody."""
    zygote_log: Path | None = Field(default=None, validation_alias=AliasChoices("TRAINYARD_ZYGOTE_LOG"))
