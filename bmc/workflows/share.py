"""Factorize or share a model's parameters, then fine-tune what is left."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from bmc.errors import UsageError
from bmc.model import Model, Step, Work
from bmc.workflows.bundles import Exported
from bmc.workflows.compress import compress, settings_of, step_class
from bmc.workflows.encoder_folders import as_model, onnx_file, texts_and_tuning
from bmc.workflows.onnx_compress import compress_file, refuse_training
from bmc.workflows.onnx_files import InMemory
from bmc.workflows.onnx_weights import cluster
from bmc.workflows.options import CompressedFiles, Files, Sharing
from bmc.workflows.results import Compressed
from bmc.workflows.tuning import Tuning

_OF_FILES = "cluster"


def share(
    reference: str | None,
    sharing: Sharing = Sharing(),
    tuning: Tuning = Tuning(),
    files: CompressedFiles = CompressedFiles(),
) -> Compressed | Exported:
    """Share parameters of a model directory, or of an ONNX file, of which bundles are written.

    Args:
        reference: as for `share_model`, or an ONNX file.
        sharing: the technique and its settings; an ONNX file takes cluster.
        tuning: settings of the fine-tuning of a model directory.
        files: what `share_model` takes, and the samples, targets and limits of an ONNX file.

    Raises:
        UsageError: an option does not fit a model directory, or an ONNX file.
        GateError: a bundle answers too differently, or as `share_model` says.
    """
    path = onnx_file(reference, any(files.of_onnx_files().values()))
    if path is None:
        files.refuse_for(reference or "the newest model")
        return share_model(reference, sharing, tuning, files)
    return share_file(path, sharing, tuning, files)


def share_model(
    reference: str | None,
    sharing: Sharing = Sharing(),
    tuning: Tuning = Tuning(),
    files: Files = Files(),
) -> Compressed:
    """Share or factorize a model's parameters, fine-tune it, and write its model directory.

    Args:
        reference: a model directory, a model's name in the workspace, or the folder of a sentence
            encoder; the newest when None.
        sharing: the technique, and its settings.
        tuning: settings of the fine-tuning.
        files: present location of the model's data, or the texts of a sentence encoder, and the
            output; the default is MODEL-METHOD in the workspace.

    Raises:
        UnknownError: there is no such model or technique.
        SettingError: a setting is out of range.
        GateError: more was lost than `tuning.max_drop`; the model is kept as NAME.failed.
    """
    texts, tuning = texts_and_tuning(reference, files.data, tuning)
    technique = step_class("share", sharing.method)
    step: Step = technique(**settings_of(technique, sharing.method, sharing.settings, {}))

    def choose(model: Model, work: Work) -> Step:
        return step

    reference, files = as_model(reference, texts, files)
    return compress("share", sharing.method, reference, choose, tuning, files)


def share_file(
    path: Path,
    sharing: Sharing,
    tuning: Tuning,
    files: CompressedFiles,
    samples: InMemory = InMemory(),
) -> Exported:
    """Share the weights of an ONNX file, and write a bundle for each target.

    Args:
        path: the ONNX file.
        sharing: the technique and its settings.
        tuning: `max_drop` limits the loss of labeled samples; nothing is trained.
        files: samples, targets, limits, and the output.
        samples: samples, labels and score in memory.

    Raises:
        UsageError: the technique needs a PyTorch model, or there is nothing to share.
        GateError: a bundle answers too differently; it is kept as NAME.failed.
    """
    refuse_training(path, tuning, files, samples)
    if sharing.method != _OF_FILES:
        raise UsageError(
            f"{path} is an ONNX file, whose weights --method cluster alone shares; "
            f"{sharing.method} needs the network: bmc.wrap takes a PyTorch model"
        )
    technique = step_class("share", _OF_FILES)
    step = technique(**settings_of(technique, _OF_FILES, sharing.settings, {}))
    change = partial(cluster, step=step)
    return compress_file(path, f"share/{_OF_FILES}", change, files, samples, tuning.max_drop)
