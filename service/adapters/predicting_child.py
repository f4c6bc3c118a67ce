"""The Predictor port: trained models in warm child processes, custom ones apart. Torch itself never comes in here.

Custom code is contained, or not run. So is what reads the images and tables that people send, where this machine can; elsewhere it has at least
nothing of this process's environment.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json
from typing_extensions import TypedDict  # pydantic's own need; it takes the standard library's from Python 3.12 on

from service.adapters import bubblewrap
from service.adapters.answers import Answers
from service.jobs.errors import PredictBusy, Unavailable, Unpredictable
from service.jobs.ports import Fetch, Question

CHILDREN = 3
"""One for all models that are made of the catalog, and one for each late custom model."""
FOLDERS = 8
"""Models whose files stay on this machine."""
START_SECONDS, ANSWER_SECONDS, WAIT_SECONDS = 90.0, 30.0, 20.0


class _Predicted(TypedDict):
    """What a model answers; each list has a row for each sample."""

    outputs: list[Any]
    names: list[str]
    classes: list[Any] | None
    probabilities: list[Any] | None


_PREDICTED = TypeAdapter(_Predicted)


@dataclass(frozen=True)
class _Started:
    process: subprocess.Popen[bytes]
    answers: Answers


class PredictingChildren:
    """`folder` is where models lie while they are asked. `trusts_code`: custom code runs as our own does."""

    def __init__(self, folder: Path, *, trusts_code: bool) -> None:
        self._folder, self._trusts_code = folder, trusts_code
        self._lock = threading.Lock()
        self._children: OrderedDict[str, _Started] = OrderedDict()
        self._folders: OrderedDict[str, Path] = OrderedDict()
        # the kernel ends a contained child with the thread that started it: this one stays
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="predicting")

    @staticmethod
    def available() -> bool:
        """Whether torch and the worker's code are installed beside this process."""
        return all(importlib.util.find_spec(name) is not None for name in ("torch", "torchvision", "worker"))

    def predict(self, model: str, files: Fetch, question: Question, *, is_custom: bool) -> dict[str, Any]:
        """What a model answers. Raises Unpredictable, PredictBusy, and Unavailable where nobody here can ask it."""
        if not self.available():
            raise Unavailable("torch is not installed beside the API: models are not asked here.")
        if not self._lock.acquire(timeout=WAIT_SECONDS):
            raise PredictBusy("Models are busy with other questions.")
        try:
            folder = self._fetched(model, files)
            child = self._child(model if is_custom else "", folder, is_custom=is_custom)
            asked = {"folder": str(folder), "kind": question.kind, "data": question.data, "resize": question.resize}
            return self._asked(child, asked)
        finally:
            self._lock.release()

    def close(self) -> None:
        """End the children."""
        for child in self._children.values():
            bubblewrap.kill(child.process)
        self._children.clear()
        self._starter.shutdown()

    def _fetched(self, model: str, files: Fetch) -> Path:
        if model in self._folders:
            self._folders.move_to_end(model)
            return self._folders[model]
        part, folder = self._folder / f"{model}.part", self._folder / model
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        part.chmod(0o755)  # contained code, which runs as nobody, reads it too
        for name, chunks in files():
            with (part / name).open("wb") as out:
                out.writelines(chunks)
        part.rename(folder)
        self._folders[model] = folder
        while len(self._folders) > FOLDERS:
            shutil.rmtree(self._folders.popitem(last=False)[1], ignore_errors=True)
        return folder

    def _child(self, key: str, folder: Path, *, is_custom: bool) -> _Started:
        child = self._children.get(key)
        if child is not None and child.process.poll() is None:
            self._children.move_to_end(key)
            return child
        self._children[key] = child = self._starter.submit(self._start, folder, is_custom=is_custom).result()
        while len(self._children) > CHILDREN:
            bubblewrap.kill(self._children.popitem(last=False)[1].process)
        if self._next(child, START_SECONDS) is None:
            raise Unavailable("The process that asks models did not start.")
        return child

    def _start(self, folder: Path, *, is_custom: bool) -> _Started:
        pipe, trusted = subprocess.PIPE, is_custom and self._trusts_code
        reason = bubblewrap.unavailable()
        if is_custom and not trusted and reason is not None:
            raise Unpredictable(f"The model's code cannot be contained here, so it is not run. {reason}")
        if trusted or reason is not None:
            command = [sys.executable, "-P", "-c", "import worker.predicting as predicting; predicting.main()"]
            environment = None if trusted else bubblewrap.environment(os.environ)
            process = subprocess.Popen(command, start_new_session=True, stdin=pipe, stdout=pipe, env=environment)
        else:
            readable, stderr = (folder, subprocess.DEVNULL) if is_custom else (self._folder, None)
            self._folder.chmod(0o755)
            limits = bubblewrap.Limits()
            process = bubblewrap.start("predict", limits=limits, readable=[readable], stdin=pipe, stdout=pipe, stderr=stderr)
        return _Started(process, Answers(process))

    def _asked(self, child: _Started, asked: dict[str, Any]) -> dict[str, Any]:
        # a question is longer than a pipe: who does not read it is ended, which ends the writing
        impatience = threading.Timer(ANSWER_SECONDS, child.process.kill)
        impatience.start()
        try:
            assert child.process.stdin is not None  # noqa: S101  # Popen was given PIPE
            child.process.stdin.write(json.dumps(asked).encode() + b"\n")
            child.process.stdin.flush()
            answer = self._next(child, ANSWER_SECONDS)
        except BrokenPipeError:
            answer = None
        finally:
            impatience.cancel()
        if answer is None:
            bubblewrap.kill(child.process)
            raise Unpredictable("The model gave no answer: it took too long, or too much memory. Send fewer samples at a time.")
        if "fault" in answer:
            raise Unpredictable(str(answer["fault"]))
        try:
            return dict(_PREDICTED.validate_python(answer.get("predicted")))
        except ValidationError as error:
            raise Unpredictable("The model gave no answer that can be read.") from error

    @staticmethod
    def _next(child: _Started, seconds: float) -> dict[str, Any] | None:
        try:
            # custom code can say what the standard library takes, and nobody else does: halves of surrogate pairs, numbers that are none
            answer = from_json(child.answers.next(seconds), allow_inf_nan=False)
        except (TimeoutError, ValueError):
            return None
        return answer if isinstance(answer, dict) else None
