"""bmc share"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

import torch

from bmc import artifact, console, plugins, workspace
from bmc.cli import _models
from bmc.cli._common import Answer, Writing
from bmc.compress.share.lowrank import LowRank
from bmc.errors import UsageError, unknown
from bmc.files import refuse_existing
from bmc.model import AppliedStep, Model
from bmc.training.settings import TrainingSettings
from bmc.training.work import fit_model, work_for


def share(
    model: str | None = None,
    *,
    method: str = "lowrank",
    energy: float = 0.9,
    layers: tuple[str, ...] = (),
    epochs: int = 1,
    learning_rate: float = 5e-5,
    seed: int = 0,
    device: str = "auto",
    data: str | None = None,
    common: Writing = Writing(),  # noqa: B008  frozen
) -> Answer:
    """Factorise or share a model's parameters, then fine-tune what is left.

    Args:
        model: a model directory, or its name in the workspace; the newest when left out.
        method: lowrank splits linear layers in two by SVD.
        energy: lowrank: share of the squared singular values to keep, in (0, 1].
        layers: lowrank: names (patterns with *) of the layers; all but the outputs when left out.
        epochs: passes of fine-tuning; 0 leaves the weights as the step made them.
        learning_rate: peak of the fine-tuning.
        seed: of batches and dropout.
        device: cpu, cuda, or auto.
        data: the data that the model was trained on, if it is not where it was.
    """
    common.begin()
    started = time.monotonic()
    if method not in plugins.names("bmc.compress.share"):
        raise unknown("share method", method, plugins.names("bmc.compress.share"))
    step = LowRank(energy, layers)
    settings = TrainingSettings(max(epochs, 1), learning_rate, device=device, seed=seed)
    folder = workspace.find(model, "model") if model else workspace.newest("model")
    output = common.output or workspace.root() / f"{workspace.slug(folder.name)}-{method}"
    refuse_existing(output, common.force)
    made = artifact.load(folder)
    known = _models.data_of(folder, data)
    checkpoints = workspace.checkpoints_of(output)
    before = sum(value.numel() for value in made.module.parameters())
    torch.manual_seed(seed)
    run = f"{_models.weights_sha256(folder)} {asdict(step)}"
    work = work_for(known, (), settings, checkpoints, workspace.cache(), _load, run=run)
    record = step.apply(made, work)
    if not record:
        raise UsageError(
            f"no layer of {folder} would get smaller at energy {energy}; try a lower one"
        )
    after = sum(value.numel() for value in made.module.parameters())
    console.note(f"{method}: {len(record)} layers changed, {before:,} -> {after:,} parameters")
    if epochs:
        fitted = fit_model(made, known, settings, checkpoints, run=run)
        made.scores = fitted.to_json()
    seconds = round(time.monotonic() - started, 1)
    made.steps.append(AppliedStep(f"share/{method}", asdict(step), record, seed, seconds))
    made.origin = {**made.origin, "command": "share", "from": folder.name, "seconds": seconds}
    artifact.save(made, output, common.force)
    _models.forget(checkpoints)
    return Answer(
        {"output": str(output), "parameters": after, "before": before, "scores": made.scores},
        (
            f"wrote {output}: {before:,} -> {after:,} parameters in {len(record)} layers",
            f"next: bmc export {output} --target onnx    (scores the held-out test split)",
        ),
    )


def _load(reference: str) -> Model:
    return artifact.load(Path(reference))
