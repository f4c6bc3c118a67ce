"""The six steps in the program, and what makes the batches that they get."""

from __future__ import annotations

from service.spec.job import JobSpec
from worker.training.deciding import Decision
from worker.training.rounding import forward_lines


def times(spec: JobSpec, labels: str) -> str:
    """A mean over a batch counts once for each sample; a sum does not."""
    return "" if spec.loss.arguments()["reduction"] == "sum" else f" * len({labels})"


def targets(spec: JobSpec, *, indent: int) -> str:
    """The line that makes targets of labels, where they are not the same."""
    classes = spec.dataset.facts.num_classes
    made = {
        "label": None,
        "one_hot": f"nn.functional.one_hot(labels, {classes}).float()",
        "signed": f"nn.functional.one_hot(labels, {classes}).float() * 2 - 1",
        "value": "labels.float().unsqueeze(1)",
        "binary": "labels.float().unsqueeze(1)",
        "input": "inputs",
    }[spec.dataset.target]
    return "" if made is None else f"{' ' * indent}targets = {made}\n"


def steps(spec: JobSpec, labels: str) -> str:
    """The six steps of an epoch, and what is counted."""
    accumulate, norm, value = spec.training.gradient_accumulation_steps, spec.training.clip_grad_norm, spec.training.clip_grad_value
    pad, scaled = " " * (12 if accumulate == 1 else 16), spec.training.precision == "float16"
    stepped = spec.lr_scheduler is not None and spec.lr_scheduler.arguments().get("interval") == "step"
    update = [
        *(["scaler.unscale_(optimizer)"] if scaled and (norm or value) else []),
        *([] if norm is None else [f"nn.utils.clip_grad_norm_(model.parameters(), {norm})"]),
        *([] if value is None else [f"nn.utils.clip_grad_value_(model.parameters(), {value})"]),
        *(["scaler.step(optimizer)  # 5 update", "scaler.update()"] if scaled else ["optimizer.step()  # 5 update"]),
        "optimizer.zero_grad()  # 6 reset the gradients",
        *([] if spec.training.ema_decay is None else ["average.update_parameters(model)"]),
        *(["scheduler.step()"] if stepped else []),
    ]
    mixing = bool(spec.dataset.batch_transforms)
    loader = "batches" if spec.training.skip_batches or mixing or spec.dataset.augments_batches else "train_loader"
    loop = f"for inputs, {labels} in {loader}:  # 1 a batch"
    backward = ["scaler.scale(loss).backward()  # 4 backward" if scaled else "loss.backward()  # 4 backward"]
    if accumulate > 1:
        loop = f"for index, (inputs, {labels}) in enumerate({loader}):  # 1 a batch"
        count = "count" if spec.training.skip_batches else "len(train_loader)"
        backward = [
            f"# 4 backward; {accumulate} batches make one step, and a last, smaller group steps with its own mean",
            f"first = index - index % {accumulate}",
            f"members = min({accumulate}, {count} - first)",
            "scaler.scale(loss / members).backward()" if scaled else "(loss / members).backward()",
            "if index - first + 1 == members:",
        ]
    counted = [f"total += loss.item(){times(spec, labels)}"]
    counted += [f"right += {right(spec, 'targets.argmax(1)' if mixing else labels)}.sum().item()"] if spec.dataset.counts_answers else []
    body = [*forward_lines(spec.training), "loss = loss_fn(outputs, targets)  # 3 loss", *backward]
    return "\n".join(
        [
            *_kept(spec),
            f"        {loop}",
            *([] if mixing else targets(spec, indent=12).splitlines()),
            *(f"            {line}" for line in body),
            *(f"{pad}{line}" for line in update),
            *(f"            {line}" for line in [*counted, f"samples += len({labels})"]),
        ]
    )


def right(spec: JobSpec, labels: str) -> str:
    """Which answers of a batch are right; of mixed targets the largest share counts."""
    decision = Decision.of(spec)
    if decision is None or decision.task == "classification":
        return f"(outputs.argmax(1) == {labels})"
    outputs = "outputs.flatten()" if decision.task == "binary" else "outputs"
    return f"(({outputs} > {decision.threshold:g}) == {labels}.bool())"


def share(spec: JobSpec) -> str:
    """The share of right answers among all that were given."""
    decision = Decision.of(spec)
    return "right / samples" if decision is None or decision.answers == 1 else f"right / (samples * {decision.answers})"


def skip(spec: JobSpec) -> str:
    """The batches that are left out."""
    pairs = ", ".join(f"({epoch}, {number})" for epoch, number in spec.training.skip_batches)
    return f"SKIP = {{{pairs}}}  # batches that are left out: (epoch, batch), both counted from 0\n" if pairs else ""


def _kept(spec: JobSpec) -> list[str]:
    """The lines that leave batches out of an epoch, and augment and mix the others."""
    skips, augments, mixes = bool(spec.training.skip_batches), spec.dataset.augments_batches, bool(spec.dataset.batch_transforms)
    lines, numbered = [], "enumerate(train_loader)"
    if skips and not (augments or mixes):
        lines.append("batches = (batch for number, batch in enumerate(train_loader) if (epoch - 1, number) not in SKIP)")
    elif skips:
        lines.append("kept = ((number, batch) for number, batch in enumerate(train_loader) if (epoch - 1, number) not in SKIP)")
        numbered = "kept"
    if augments:
        lines.append(f"drawn = augmented({numbered}, augmentation, SEED, epoch - 1)")
        numbered = "drawn"
    if mixes:
        lines.append(f"batches = mixed({numbered}, batch_transform, SEED, epoch - 1)")
    elif augments:
        lines.append("batches = (batch for _, batch in drawn)")
    if skips and spec.training.gradient_accumulation_steps > 1:
        lines.append("count = sum((epoch - 1, number) not in SKIP for number in range(len(train_loader)))")
    return [f"        {line}" for line in lines]


def compiled(spec: JobSpec) -> str:
    """The line that compiles the model."""
    mode = spec.training.compile
    return "" if not mode else f"    compiled = torch.compile(model{'' if mode is True else f', mode={mode!r}'})\n"
