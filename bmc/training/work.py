"""What a compression step is given: data without its test part, and a way to train."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bmc.data import Dataset, Examples
from bmc.model import AfterStep, Loss, Model, Work
from bmc.text import TextEncoder
from bmc.training.batches import Rows
from bmc.training.loop import Fitted, TrainingSettings, fit


def work_for(
    data: Dataset,
    transfer: tuple[str, ...],
    settings: TrainingSettings,
    checkpoints: Path,
    cache: Path,
    load: Callable[[str], Model],
    run: str,
) -> Work:
    """Bind data and training settings into what `Step.apply` takes.

    Args:
        data: checked and split; the test part is emptied here, so that no step can look at it.
        transfer: unlabelled texts.
        settings: how to train.
        checkpoints: folder for checkpoints.
        cache: folder for what can be computed again.
        load: loads a model by reference.
        run: what the result depends on beside data and settings, such as the teacher.
    """
    hidden = replace(data, test=Examples((), ()))

    def train(
        model: Model,
        loss: Loss | None = None,
        texts: tuple[tuple[str, ...], ...] = (),
        after_step: AfterStep | None = None,
    ) -> dict[str, float]:
        fitted = fit_model(model, hidden, settings, checkpoints, loss, texts, after_step, run)
        return {"validation_accuracy": fitted.accuracy, "best_epoch": fitted.best_epoch}

    return Work(hidden, transfer, cache, settings.device, train, load)


def fit_model(
    model: Model,
    data: Dataset,
    settings: TrainingSettings,
    checkpoints: Path,
    loss: Loss | None = None,
    texts: tuple[tuple[str, ...], ...] = (),
    after_step: AfterStep | None = None,
    run: str = "",
) -> Fitted:
    """Train a model on a data set's train rows, then `texts` without labels; see `loop.fit`."""
    encoder = TextEncoder(model.tokenizer, model.text)
    labels = (*data.train.labels, *[-1] * len(texts))
    train = Rows((*data.train.texts, *texts), labels, encoder)
    validation = Rows(data.validation.texts, data.validation.labels, encoder)
    words = hashlib.sha256("\x1e".join(text for row in texts for text in row).encode()).hexdigest()
    depends = json.dumps([data.fingerprint, words, str(model.text), model.spec, run])
    return fit(
        model.module, train, validation, settings, checkpoints, loss, after_step, run=depends
    )
