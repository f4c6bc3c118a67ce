"""What the program does around its steps: evaluation, the best weights, early stopping, schedules."""

from __future__ import annotations

from service.spec.job import JobSpec
from service.spec.monitors import watched_metrics
from worker.training.deciding import Decision
from worker.training.evaluate import BY_SAMPLE
from worker.training.script import calls
from worker.training.script.loop import share
from worker.training.script.models import judged


def before_epochs(spec: JobSpec) -> str:
    """What is made once: scaler, moving average, the best so far, metrics."""
    lines = ['    scaler = torch.amp.GradScaler("cpu")\n'] if spec.training.precision == "float16" else []
    if spec.training.ema_decay is not None:
        lines.append(f"    average = moving_average(model, {spec.training.ema_decay})  # evaluated and saved in place of the model\n")
    if spec.checkpoint.monitor:
        lines.append(f"    best, best_weights = {_worst(spec.checkpoint.mode)}, None\n")
    if spec.training.early_stopping:
        lines.append(f"    watched, stale_epochs = {_worst(spec.training.early_stopping.mode)}, 0\n")
    lines.extend(f"    {name.removeprefix('val_')} = {calls.metric(metric, spec)}\n" for name, metric in watched_metrics(spec).items())
    return "".join(lines)


def _worst(mode: str) -> str:
    """What every number is better than."""
    return "-math.inf" if mode == "max" else "math.inf"


def update_metrics(spec: JobSpec, labels: str) -> str:
    """What each metric is shown of a batch: see `observed` in evaluate.py."""
    by_sample = {metric.type in BY_SAMPLE for metric in watched_metrics(spec).values()}
    if not by_sample:
        return ""
    samples, numbers = "outputs.flatten(1), targets.flatten(1)", "outputs.flatten(), targets.flatten()"
    decision = Decision.of(spec)
    if decision is not None and decision.task == "classification":
        shown = f"outputs, {labels}"
    elif decision is not None:
        certain = "outputs" if decision.threshold else "outputs.sigmoid()"
        shown = f"{certain}{'.flatten()' if decision.task == 'binary' else ''}, {labels}.long()"
    elif len(by_sample) == 1:
        shown = samples if by_sample == {True} else numbers
    else:
        shown = f"*(({samples}) if type(metric).__name__ in {BY_SAMPLE!r} else ({numbers}))"
    return f"            for metric in metrics:\n                metric.update({shown})\n"


def after_training(spec: JobSpec) -> str:
    """The best weights, taken back."""
    if not spec.checkpoint.monitor:
        return ""
    return f"    if best_weights is not None:\n        {judged(spec)}.load_state_dict(best_weights)\n"


def after_epoch(spec: JobSpec, *, held_out: bool) -> str:
    """Validation, schedule, the best so far, early stopping."""
    lines = []
    counts = spec.dataset.counts_answers
    if held_out:
        names = [name.removeprefix("val_") for name in watched_metrics(spec)]
        more = f", [{', '.join(names)}]" if names else ""
        lines.append(f"        val_loss{', val_accuracy' if counts else ''} = evaluate({judged(spec)}, loss_fn, val_loader{more})\n")
        # one by one: a metric that is read starts afresh
        lines.extend(f"        val_{name} = {name}.compute().item()\n        {name}.reset()\n" for name in names)
        told = ["val_loss", *(["val_accuracy"] if counts else []), *(f"val_{name}" for name in names if name != "accuracy")]
        shown = ", ".join(f"{name} {{{name}:.4f}}" for name in told)
        lines.append(f'        print(f"epoch {{epoch}}: {shown}")\n')
    plateau = spec.lr_scheduler is not None and spec.lr_scheduler.type == "ReduceLROnPlateau"
    if spec.checkpoint.monitor or spec.training.early_stopping or plateau:
        measured = {
            "train_loss": "total / samples",
            "train_accuracy": share(spec),
            "val_loss": "val_loss",
            "val_accuracy": "val_accuracy",
        }
        measured |= {name: name for name in watched_metrics(spec)}
        known = [f'"{n}": {v}' for n, v in measured.items() if (counts or not n.endswith("_accuracy")) and (held_out or "val" not in n)]
        lines.append(f"        measured = {{{', '.join(known)}}}\n")
    if spec.lr_scheduler is not None and spec.lr_scheduler.arguments().get("interval") != "step":
        watched = f'measured["{spec.lr_scheduler.arguments()["monitor"]}"]' if plateau else ""
        lines.append(f"        scheduler.step({watched})\n")
    return "".join([*lines, *_best(spec), *_early_stop(spec)])


def _best(spec: JobSpec) -> list[str]:
    if not spec.checkpoint.monitor:
        return []
    better = ">" if spec.checkpoint.mode == "max" else "<"
    return [
        "        # keep the weights of the best epoch: the first strict improvement\n",
        f'        if measured["{spec.checkpoint.monitor}"] {better} best:\n',
        f'            best = measured["{spec.checkpoint.monitor}"]\n',
        f"            best_weights = {{name: tensor.detach().clone() for name, tensor in {judged(spec)}.state_dict().items()}}\n",
    ]


def _early_stop(spec: JobSpec) -> list[str]:
    rule = spec.training.early_stopping
    if not rule:
        return []
    better = f"> watched + {rule.min_delta}" if rule.mode == "max" else f"< watched - {rule.min_delta}"
    return [
        "        # stop once nothing has got better for a while\n",
        f'        if measured["{rule.monitor}"] {better}:\n',
        f'            watched, stale_epochs = measured["{rule.monitor}"], 0\n',
        "        else:\n            stale_epochs += 1\n",
        f"        if stale_epochs >= {rule.patience}:\n            break\n",
    ]
