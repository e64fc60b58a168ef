"""Prune a model, then fine-tune what is left; the ratio may be searched."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from bmc import console, workspace
from bmc.errors import UsageError
from bmc.inspect import kept, sensitivity
from bmc.inspect.sensitivity import Sensitivity
from bmc.model import Model, Step, Work
from bmc.workflows.budgets import Budget, check_budgets
from bmc.workflows.bundles import Exported
from bmc.workflows.compress import compress, settings_of, step_class
from bmc.workflows.encoder_folders import as_model, onnx_file, texts_and_tuning
from bmc.workflows.onnx_compress import compress_file, refuse_training
from bmc.workflows.onnx_files import InMemory
from bmc.workflows.onnx_weights import zero_nm, zero_unstructured
from bmc.workflows.options import CompressedFiles, Files, Pruning
from bmc.workflows.ratio_search import SEARCHED, Search
from bmc.workflows.results import Compressed
from bmc.workflows.sizes import Size
from bmc.workflows.tuning import Tuning

_ROWS = 512
_OF_FILES: Mapping[str, Any] = {"unstructured": zero_unstructured, "nm": zero_nm}


def prune(
    reference: str | None,
    pruning: Pruning = Pruning(),
    tuning: Tuning = Tuning(),
    files: CompressedFiles = CompressedFiles(),
) -> Compressed | Exported:
    """Prune a model directory, or an ONNX file, of which bundles are written.

    Args:
        reference: as for `prune_model`, or an ONNX file.
        pruning: the technique and its settings; an ONNX file takes unstructured and nm.
        tuning: settings of the fine-tuning of a model directory.
        files: what `prune_model` takes, and the samples, targets and limits of an ONNX file.

    Raises:
        UsageError: an option does not fit a model directory, or an ONNX file.
        GateError: a bundle answers too differently, or as `prune_model` says.
    """
    path = onnx_file(reference, any(files.of_onnx_files().values()))
    if path is None:
        files.refuse_for(reference or "the newest model")
        return prune_model(reference, pruning, tuning, files)
    return prune_file(path, pruning, tuning, files)


def prune_model(
    reference: str | None,
    pruning: Pruning = Pruning(),
    tuning: Tuning = Tuning(),
    files: Files = Files(),
) -> Compressed:
    """Prune a model, fine-tune it, and write its model directory.

    With a budget, or with `tuning.max_drop` and no ratio, the ratio is searched.

    Args:
        reference: a model directory, a model's name in the workspace, or the folder of a sentence
            encoder; the newest when None.
        pruning: the technique, its settings, and what the pruned model may cost at most.
        tuning: settings of the fine-tuning.
        files: present location of the model's data, or the texts of a sentence encoder, and the
            output; the default is MODEL-METHOD in the workspace.

    Raises:
        UnknownError: there is no such model or technique.
        SettingError: a setting or a budget is out of range.
        GateError: a budget was not met, or more was lost than `tuning.max_drop`; the model is kept
            as NAME.failed.
    """
    texts, tuning = texts_and_tuning(reference, files.data, tuning)
    method = pruning.method
    technique = step_class("prune", method)
    settings = settings_of(technique, method, pruning.settings, {"ratio": pruning.ratio})
    step: Step = technique(**settings)  # a wrong setting is refused before the model is loaded
    limits = {
        "macs": pruning.target_macs,
        "params": pruning.target_params,
        "size": pruning.target_size,
    }
    budgets = tuple(Budget(quantity, text) for quantity, text in limits.items() if text is not None)
    check_budgets(method, settings, budgets)
    reference, files = as_model(reference, texts, files)
    folder = workspace.find(reference, "model")
    decided = {"ratio", "layers"} if method == "depth" else {"ratio"}
    by_drop = tuning.max_drop is not None and method in SEARCHED and not decided & settings.keys()

    def choose(model: Model, work: Work) -> Step:
        search = Search(
            method, technique, settings, model, work, lambda: _sensitivity(folder, model, work)
        )
        chosen = step
        if budgets:
            chosen = technique(**search.for_budgets(budgets))
        elif by_drop and tuning.max_drop is not None and model.has_labels:
            chosen = technique(**search.for_drop(tuning.max_drop, tuned=tuning.epochs > 0))
        return chosen

    def missed(before: Size, after: Size) -> str:
        return "; ".join(filter(None, (budget.missed(before, after) for budget in budgets)))

    return compress("prune", method, str(folder), choose, tuning, files, missed)


def prune_file(
    path: Path,
    pruning: Pruning,
    tuning: Tuning,
    files: CompressedFiles,
    samples: InMemory = InMemory(),
) -> Exported:
    """Prune an ONNX file, and write a bundle for each target.

    Args:
        path: the ONNX file.
        pruning: the technique and its settings.
        tuning: `max_drop` limits the loss of labeled samples; nothing is trained.
        files: samples, targets, limits, and the output.
        samples: samples, labels and score in memory.

    Raises:
        UsageError: the technique needs a PyTorch model, or there is nothing to prune.
        GateError: a bundle answers too differently; it is kept as NAME.failed.
    """
    refuse_training(path, tuning, files, samples)
    method = pruning.method
    if method not in _OF_FILES:
        raise UsageError(
            f"{path} is an ONNX file, which --method unstructured and --method nm alone prune; "
            f"{method} needs the network: bmc.wrap takes a PyTorch model"
        )
    if pruning.target_macs or pruning.target_params or pruning.target_size:
        raise UsageError(f"{method} takes no target; --ratio says how much it prunes")
    technique = step_class("prune", method)
    step = technique(**settings_of(technique, method, pruning.settings, {"ratio": pruning.ratio}))
    change = partial(_OF_FILES[method], step=step)
    return compress_file(path, f"prune/{method}", change, files, samples, tuning.max_drop)


def _sensitivity(folder: Path, model: Model, work: Work) -> Sensitivity | None:
    """Return how much each layer matters; it is measured where `bmc inspect` has not yet.

    A generator has no score that a layer could lose.
    """
    if not model.has_labels:
        return None
    part = work.data.validation
    places = kept.drawn(len(part), _ROWS)
    rows, labels = ([values[index] for index in places] for values in (part.rows, part.labels))
    measured_on = kept.key_of(work.data.fingerprint, rows)
    measured = kept.read(folder, measured_on)
    if measured is None:
        console.note(f"measuring how much each layer matters, on {len(rows)} validation rows")
        measured = sensitivity.measure(model, rows, labels)
        kept.write(folder, measured, measured_on)
    return measured
