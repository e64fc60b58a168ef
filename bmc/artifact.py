"""Save and load model directories, which every command before export reads and writes.

bmc.json            how the model was made, and the sha256 of every other file
config.json         the settings of the model's family, with the keys of Hugging Face
model.safetensors   the weights; a tensor that several modules share is stored once
tokenizer.json      the tokenizer of a text model, with tokenizer_config.json
reference.safetensors    the vectors with which those of sentence embeddings are compared
training.svg        a drawing of the training loss and the validation score of each epoch
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_model, save_model
from torch import Tensor

from bmc import __version__, building, curves, disk, inputs, processes, provenance
from bmc.checksums import check_files
from bmc.contracts import families
from bmc.contracts.tasks import EMBEDDING
from bmc.contracts.techniques import technique, techniques
from bmc.data import Reference
from bmc.description import KIND
from bmc.description import MANIFEST as MANIFEST
from bmc.description import SCHEMA as SCHEMA
from bmc.description import describe as describe
from bmc.description import is_model_directory as is_model_directory
from bmc.errors import ArtifactError, BmcError, reason_of
from bmc.files import sha256_of_folder, write_json
from bmc.inputs.ngram import NgramEncoder
from bmc.inputs.text import TextEncoder
from bmc.model import AppliedStep, Model, output_of
from bmc.untrusted import read_json
from bmc.weights_header import read_header
from bmc.writing import new_folder

WEIGHTS = "model.safetensors"
CURVES = "training.svg"
REFERENCE = "reference.safetensors"
_MAX_PATHS = 10_000
_PROBE_ROWS = 4
# Share of the largest output: kernels add numbers in another order where the weights lie at another
# address in memory.
_TOLERANCE = 1e-4
_SPECIAL_TOKENS = {
    "pad_token": ("[PAD]", "<pad>"),
    "unk_token": ("[UNK]", "<unk>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "mask_token": ("[MASK]", "<mask>"),
}
_PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy")


def save(model: Model, output: Path, force: bool = False) -> Path:
    """Write a model directory, whole or not at all, and check that it loads to the same model.

    Of several processes of one training the first writes.

    Args:
        model: the model to save.
        output: path of the directory.
        force: replace an existing directory.

    Raises:
        UsageError: `output` exists and `force` is off.
        ArtifactError: the written directory cannot be loaded, or the loaded model has other
            outputs; nothing is kept.
        StorageError: the disk is full.
    """
    if not processes.is_first():
        return output
    with new_folder(output, force) as folder:
        write_weights(model.module, folder / "model.safetensors")
        write_json(folder / "config.json", model.spec)
        model.encoder.save(folder)
        if model.reference is not None:
            save_file(vars(model.reference), folder / REFERENCE)
        if isinstance(model.encoder, TextEncoder):
            write_json(folder / "tokenizer_config.json", _tokenizer_config(model.encoder))
        drawing = curves.svg(curves.epochs_of(model.origin.get("history")))
        if drawing:
            disk.write(folder / CURVES, drawing.encode())
        write_json(
            folder / MANIFEST,
            {
                "schema": SCHEMA,
                "family": model.family,
                "labels": list(model.labels),
                "task": model.task,
                "inputs": model.encoder.to_json(),
                "data": model.data,
                "steps": [asdict(step) for step in model.steps],
                "scores": model.scores,
                "origin": provenance.recorded(model.origin),
                **({"thresholds": list(model.thresholds)} if model.thresholds else {}),
                "versions": versions(),
                "plugins": _plugins_of(model),
                "files": sha256_of_folder(folder, leave_out=MANIFEST),
            },
        )
        _check_reloaded(model, folder, output)
    return output


def _check_reloaded(model: Model, folder: Path, output: Path) -> None:
    """Load the written directory, and compare both models' outputs for one random batch.

    Raises:
        ArtifactError: the directory cannot be loaded, or the outputs differ.
    """
    try:
        loaded = load(folder)
    except BmcError as error:
        reason = str(error).replace(str(folder), str(output))
        raise ArtifactError(
            f"{output} was not written: its directory could not be loaded ({reason})"
        ) from error
    weight = next(model.module.parameters(), None)
    device = weight.device if weight is not None else torch.device("cpu")
    batch = _example_batch(loaded, device)
    before = _outputs(model.module, batch)
    after = _outputs(loaded.module.to(device), batch)
    is_finite = before.isfinite()
    largest = before[is_finite].abs().amax().clamp(min=1) if is_finite.any() else torch.ones(())
    difference = (after - before)[is_finite & after.isfinite()].abs()
    change = (difference.amax() if len(difference) else torch.zeros(())) / largest
    same_others = torch.equal(
        before.masked_fill(is_finite, 0).nan_to_num(0.5),
        after.masked_fill(after.isfinite(), 0).nan_to_num(0.5),
    )  # NaN, and the infinite outputs with their signs
    if not same_others or float(change) > _TOLERANCE:
        raise ArtifactError(
            f"{output} was not written: loaded again, the {model.family} model has other outputs "
            f"(they change by {float(change):.2g} of the largest output): its config.json and its "
            "steps do not hold every setting that its network depends on"
        )


def _example_batch(model: Model, device: torch.device) -> dict[str, Tensor]:
    """Return the encoder's largest batch of random inputs, as tensors on a device."""
    probes = model.encoder.probes(_PROBE_ROWS)
    arrays = max(probes, key=lambda probe: len(next(iter(probe.values()))))
    return {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}


def _outputs(module: torch.nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """Compute a module's outputs in evaluation mode; the mode of every submodule is restored."""
    modes = {submodule: submodule.training for submodule in module.modules()}
    try:
        with torch.inference_mode():
            return output_of(module.eval(), batch).float()
    finally:
        for submodule, training in modes.items():
            submodule.training = training


def load(folder: Path) -> Model:
    """Load a model directory: build the network, replay the recorded steps, load the weights.

    Raises:
        ArtifactError: the folder is not a model directory, is damaged, has a newer schema, or names
            code to run.
    """
    manifest = describe(folder)
    for name in ("config.json", WEIGHTS):
        if name not in manifest["files"]:
            raise ArtifactError(f"{folder}/{MANIFEST} has no sha256 of {name}")
    check_files(folder, manifest["files"], KIND)
    stored = read_header(folder / WEIGHTS, f"{KIND} {folder}")
    spec = read_json(folder / "config.json", KIND)
    if "auto_map" in spec:
        raise ArtifactError(f"{folder}/config.json names code to run (auto_map); bmc runs none")
    made_with = manifest.get("plugins")
    family = families.family(manifest["family"], made_with)
    network = families.network(manifest["family"])
    steps = [_step(entry, folder) for entry in manifest["steps"]]
    for step in steps:
        technique(step.method, made_with)
    encoder = inputs.load(manifest["inputs"], folder)
    table_rows = spec.get("vocab_size", spec.get("vocabulary", spec.get("buckets")))
    if isinstance(encoder, TextEncoder | NgramEncoder) and type(table_rows) is int:
        # Directories of older versions do not record the table's rows with the tokenizer.
        encoder.check_table(table_rows)

    def build() -> Model:
        model = Model(
            module=network.build(spec),
            family=manifest["family"],
            spec=spec,
            labels=tuple(manifest["labels"]),
            encoder=encoder,
            task=manifest["task"],
            data=manifest["data"],
            steps=steps,
            scores=manifest["scores"],
            origin=manifest["origin"],
            thresholds=tuple(manifest.get("thresholds", ())),
            reference=reference_of(folder, manifest),
        )
        for step in steps:
            _rebuild(model, step, folder)
        return model

    if not family.runs_user_code:  # the user's code is called once, and not on the meta device
        building.check_fit(build, stored, folder)
    with building.bounded(building.max_bytes(stored)):
        model = build()
    try:
        load_model(model.module, folder / WEIGHTS, strict=True)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ArtifactError(
            f"{folder}: the weights do not fit the model ({reason_of(error)})"
        ) from error
    model.module.eval()
    return model


def reference_of(folder: Path, manifest: Mapping[str, Any]) -> Reference | None:
    """Return the vectors that sentence embeddings are compared with; None where there are none.

    Args:
        folder: a model directory.
        manifest: content of its bmc.json.

    Raises:
        ArtifactError: the vectors are damaged.
    """
    path = folder / REFERENCE
    if manifest["task"] != EMBEDDING or REFERENCE not in manifest["files"]:
        return None
    check_files(folder, {REFERENCE: manifest["files"][REFERENCE]}, KIND)
    read_header(path, f"{KIND} {folder}")
    try:
        arrays = load_file(path)
        reference = Reference(arrays["validation"], arrays["test"])
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise ArtifactError(f"{path} cannot be read ({reason_of(error)})") from error
    for array in (reference.validation, reference.test):
        if array.ndim != 2 or array.dtype != np.float32 or not np.isfinite(array).all():
            raise ArtifactError(f"{path} holds no vectors (rows, width) of finite numbers")
    return reference


def _rebuild(model: Model, step: AppliedStep, folder: Path) -> None:
    """Give a freshly built model the shapes that a step recorded."""
    try:
        technique(step.method).rebuild(model, step.record)
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise ArtifactError(
            f"{folder}: the record of its step {step.method} does not fit the model "
            f"({reason_of(error)})"
        ) from error
    # A record may let layers share modules, level after level: a few bytes then make exponentially
    # many paths. The number of paths is limited.
    paths = islice(model.module.named_modules(remove_duplicate=False), _MAX_PATHS + 1)
    if sum(1 for _ in paths) > _MAX_PATHS:
        raise ArtifactError(
            f"{folder}: its step {step.method} makes a model of more than {_MAX_PATHS:,} modules"
        )


def write_weights(module: torch.nn.Module, path: Path) -> None:
    """Write a module's weights; a tensor that several modules share is stored once.

    Args:
        module: the network.
        path: path of the .safetensors file.
    """
    save_model(module, str(path), metadata={"format": "pt"})


def versions() -> dict[str, str]:
    """Return the versions of bmc and of the packages that a model's numbers depend on."""
    versions_by_package = {"bmc-toolkit": __version__}
    for package in _PACKAGES:
        try:
            versions_by_package[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions_by_package


def _plugins_of(model: Model) -> list[dict[str, str]]:
    """Return the plug-ins of other packages that a model was made with."""
    entries = families.FAMILIES.record(model.family)
    for step in model.steps:
        kind, _, name = step.method.partition("/")
        entries += techniques(kind).record(name)
    return entries


def _step(entry: Any, folder: Path) -> AppliedStep:
    try:
        step = AppliedStep(**entry)
    except TypeError as error:
        raise ArtifactError(f"{folder}/{MANIFEST}: a step is malformed ({error})") from error
    kinds = ((step.method, str), (step.record, dict), (step.settings, dict), (step.seed, int))
    if not all(isinstance(value, kind) for value, kind in kinds):
        raise ArtifactError(f"{folder}/{MANIFEST}: a step is malformed (its method or record)")
    return step


def _tokenizer_config(encoder: TextEncoder) -> dict[str, Any]:
    added = encoder.tokenizer.get_added_tokens_decoder().values()
    special = {token.content for token in added if token.special}
    config = {
        # This class uses tokenizer.json as it is; BertTokenizer would switch lower-casing on.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": _input_names(encoder),
        "model_max_length": encoder.settings.max_length,
        "truncation_side": encoder.settings.truncation_side,
    }
    for role, spellings in _SPECIAL_TOKENS.items():
        tokens = [token for token in spellings if token in special]
        if tokens:
            config[role] = tokens[0]
    padding = encoder.tokenizer.id_to_token(encoder.settings.pad_id)
    if padding in special:
        config["pad_token"] = padding
    return config


def _input_names(encoder: TextEncoder) -> list[str]:
    """Return the names of the model's inputs, with token types where the tokenizer makes them."""
    names = [info.name for info in encoder.tensors() if info.name != "token_type_ids"]
    pair_types = encoder.settings.pair_types and (
        encoder.settings.columns == 2 or any(encoder.tokenizer.encode("a", "b").type_ids)
    )
    return [*names, "token_type_ids"] if pair_types else names
