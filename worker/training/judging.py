"""The trained model's last examination: on the test split, and on the validation split once more, as it is handed out."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from worker.training.answers import Answers, Labels, Predictions, Thresholds
from worker.training.data import Batch, Batches, grouped
from worker.training.deciding import Decision
from worker.training.evaluate import Evaluation, ask, evaluate
from worker.training.facts import Evaluating
from worker.training.loop import Run
from worker.training.mistakes import Mistake, MostWrong
from worker.training.regression import Fits
from worker.training.splits import Split


@dataclass(frozen=True, kw_only=True)
class Looks:
    """What looked at the test split's answers; None what has nothing to see in the job's task."""

    worst: MostWrong | None = None
    fits: Fits | None = None
    labels: Labels | None = None
    thresholds: Thresholds | None = None

    @classmethod
    def of(cls, run: Run) -> Looks:
        """Those of a job's task."""
        decision, worst = Decision.of(run.spec), MostWrong.of(run.spec)
        if decision is None:
            return cls(worst=worst, fits=Fits(run.spec.loss, size=len(run.splits.test)) if worst is not None else None)
        return cls(
            worst=worst,
            labels=Labels(decision) if decision.task == "multilabel" else None,
            thresholds=Thresholds(decision) if decision.task == "binary" else None,
        )

    def all(self) -> list[Answers]:
        """Those that are there."""
        return [each for each in (self.worst, self.fits, self.labels, self.thresholds) if each is not None]

    def mistakes(self) -> list[Mistake]:
        """The test samples that the model is most wrong about, worst first."""
        return [] if self.worst is None else self.worst.mistakes()


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """How good the job's model is, and what its answers to the test samples look like."""

    test: Evaluation | None
    """None where the data have no labels."""
    validation: Evaluation | None
    looks: Looks

    def scores(self) -> dict[str, float]:
        """Every single number: test_loss, test_accuracy, ..., val_loss, ..."""
        return self.test_scores() | (self.validation.scalars("val") if self.validation is not None else {})

    def test_scores(self) -> dict[str, float]:
        """Those of the test split."""
        return self.test.scalars("test") if self.test is not None else {}


def judge(run: Run, folder: Path) -> Generator[Evaluating, None, Judgement]:
    """Evaluate `run.judged`; `evaluation.predictions` go into the folder meanwhile. Yields after each batch."""
    is_judged = run.spec.dataset.is_judged
    looks = Looks.of(run) if is_judged else Looks()
    beside = looks.all()
    with ExitStack() as closing:
        if run.spec.evaluation.predictions:
            path = folder / "predictions.parquet"
            beside.append(closing.enter_context(Predictions(path, run.spec, classes=class_names(run))))
        if not is_judged:
            yield from ask(run.judged, _batches(run, run.splits.test), beside=beside)
            return Judgement(test=None, validation=None, looks=looks)
        test = yield from _evaluated(run, run.splits.test, beside)
    validation = (yield from _evaluated(run, run.splits.validation, [])) if len(run.splits.validation) else None
    return Judgement(test=test, validation=validation, looks=looks)


def _evaluated(run: Run, split: Split, beside: list[Answers]) -> Generator[Evaluating, None, Evaluation]:
    batches = _batches(run, split)
    return (yield from evaluate(run.judged, run.loss_fn, batches, spec=run.spec, metrics=run.metrics, beside=beside))


def _batches(run: Run, split: Split) -> Iterator[Batch]:
    groups = grouped(torch.arange(len(split)), size=run.spec.dataloader.eval_batch_size)
    return Batches(split, run.spec, device=run.device, residents=run.residents).over(groups)


def class_names(run: Run) -> list[str]:
    """What the data set calls its classes, in the order of their numbers; empty where it has no names for them."""
    names = run.spec.dataset.class_names or getattr(getattr(run.splits.test, "samples", None), "classes", None) or ()
    return [str(name) for name in names] if len(names) == run.spec.dataset.facts.num_classes else []
