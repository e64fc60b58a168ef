"""bmc train"""

from __future__ import annotations

from bmc import data as datasets
from bmc import workspace
from bmc.cli import _models
from bmc.cli._common import Answer, DataOptions, Writing
from bmc.training.loop import TrainingSettings


def train(
    model: str = "bert",
    *,
    source: DataOptions = DataOptions(),  # noqa: B008  frozen
    epochs: int = 3,
    learning_rate: float = 1e-4,
    batch_size: int = 32,
    max_length: int = 128,
    precision: str = "auto",
    checkpoint_every: int = 200,
    seed: int = 0,
    device: str = "auto",
    common: Writing = Writing(),  # noqa: B008  frozen
) -> Answer:
    """Fine-tune a baseline on labelled text.

    Writes a model directory, which stays a valid Hugging Face folder. A stopped or killed run goes
    on from its last checkpoint when the same command is typed again.

    Args:
        model: a baseline's name, a local Hugging Face folder, or hf:org/name@revision.
        epochs: passes over the training rows; the best by validation accuracy is kept.
        learning_rate: peak; it rises over the first tenth of the steps, then falls to zero.
        batch_size: rows a step, of like length.
        max_length: tokens of a text at most.
        precision: bf16, fp32, or auto (bf16 where the processor has it).
        checkpoint_every: steps between two checkpoints.
        seed: of fresh weights, batches and dropout.
        device: cpu, cuda, or auto.
    """
    common.begin()
    settings = TrainingSettings(
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        precision=precision,
        device=device,
        seed=seed,
        checkpoint_every=checkpoint_every,
    )
    data = datasets.load(source.data, source.text_column, source.label_column)
    output = common.output or workspace.root() / f"{workspace.slug(model)}-{data.name}"
    made = _models.train_baseline(model, data, source, settings, max_length, output, common.force)
    accuracy = made.scores["validation_accuracy"]
    return Answer(
        {"output": str(output), "scores": made.scores, "seconds": made.origin["seconds"]},
        (
            f"wrote {output}: validation accuracy {accuracy:.3f} "
            f"({len(data.validation)} rows, epoch {made.scores['best_epoch']})",
            f"next: bmc export {output} --target onnx    (scores the held-out test split)",
        ),
    )
