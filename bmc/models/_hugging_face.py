"""Hugging Face folders: how families with pretrained weights find, check and load them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer
from torch import nn

from bmc import assets
from bmc.errors import ArtifactError, AssetError, SettingError, UnknownError, reason_of
from bmc.files import read_json
from bmc.inputs.text import TextEncoder, TextSettings, load_tokenizer
from bmc.model import Model
from bmc.models._hugging_face_config import checked

transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Architecture:
    """A kind of model that transformers knows, as a family uses it.

    Args:
        model_type: Hugging Face's name of it, and the family's.
        classifier: its class with a classification head.
        config: the class of its configuration.
        fresh: how the names of weights start that a folder need not have: they are made anew.
        reserved: positions before a text's first token's.
        attention: the implementation that is asked of transformers; its own choice when None.
    """

    model_type: str
    classifier: Any
    config: Any
    fresh: tuple[str, ...]
    reserved: int = 0
    attention: str | None = None


def build(spec: Mapping[str, Any], kind: Architecture) -> nn.Module:
    """Build an untrained classifier from Hugging Face's own configuration keys.

    Raises:
        ArtifactError: the configuration is of another kind, or does not fit together.
    """
    known = checked(spec, kind.model_type)
    try:
        config = kind.config(**known, attn_implementation=kind.attention)
        module: nn.Module = kind.classifier(config)
    except Exception as error:  # transformers checks a configuration with errors of many kinds
        raise ArtifactError(
            f"the model's config.json does not fit together ({type(error).__name__}: {error})"
        ) from error
    return module.eval()


def pretrained(
    reference: str, source: str, labels: Sequence[str], text: TextSettings, kind: Architecture
) -> Model:
    """Load pretrained weights under a classifier for these labels, or one value without labels.

    Args:
        reference: what a user typed.
        source: where that is: asset:NAME, a local Hugging Face folder, or hf:org/name@revision.
        labels: class names; none for a regression.
        text: how text is cut; the padding id is taken from the model's configuration.
        kind: of model.

    Raises:
        UnknownError: the folder is no Hugging Face model.
        ArtifactError: it is another kind of model, or its weights are pickled, damaged or do not
            fit its config.json.
        SettingError: it has fewer positions than `max_length`, or no token types for pairs.
    """
    folder = folder_of(source)
    config = read_json(folder / "config.json", "Hugging Face model folder")
    if config.get("model_type") != kind.model_type:
        raise ArtifactError(
            f"{reference} is a {config.get('model_type')!r} model; `bmc train` takes bert and "
            "mpnet models"
        )
    if not (folder / "model.safetensors").is_file():
        raise ArtifactError(
            f"{reference} has no model.safetensors (pickled weights are not read); convert it: "
            "AutoModel.from_pretrained(...).save_pretrained(...)"
        )
    module = _with_classifier(folder, labels, kind)
    spec = {**module.config.to_dict(), "architectures": [kind.classifier.__name__]}
    spec.pop("_name_or_path", None)
    if text.columns > spec.get("type_vocab_size", 1):
        raise SettingError(f"{reference} knows one token type; sentence pairs need two")
    positions = spec["max_position_embeddings"] - kind.reserved
    if text.max_length > positions:
        raise SettingError(
            f"max length is {text.max_length}; {reference} has {positions} positions"
        )
    settings = TextSettings(text.max_length, text.columns, spec.get("pad_token_id") or 0)
    task = "classification" if labels else "regression"
    encoder = TextEncoder(_tokenizer(folder), settings)
    return Model(module, kind.model_type, spec, tuple(labels), encoder, task)


def folder_of(source: str) -> Path:
    """Return the local folder of asset:NAME, hf:org/name@revision, or of a folder.

    Raises:
        UnknownError: the folder is no Hugging Face model.
        AssetError: it could not be had.
    """
    if source.startswith("asset:"):
        return assets.fetch(source.removeprefix("asset:"))
    if source.startswith("hf:"):
        return _from_hub(source)
    if not (Path(source) / "config.json").is_file():
        raise UnknownError(f"{source} is no Hugging Face model folder: it has no config.json")
    return Path(source)


def _from_hub(reference: str) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415  slow to import, rarely used
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError  # noqa: PLC0415

    name, _, revision = reference.removeprefix("hf:").partition("@")
    try:
        files = ["config.json", "*.safetensors", "tokenizer*", "vocab.txt"]
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=files))
    except (OSError, HfHubHTTPError, HFValidationError, ValueError) as error:
        raise AssetError(
            f"{reference} could not be had from the Hugging Face hub ({reason_of(error)}); "
            "download it elsewhere and name its folder"
        ) from error


def _with_classifier(folder: Path, labels: Sequence[str], kind: Architecture) -> Any:
    """Load weights; a classifier that is missing or of another size is made anew."""
    names = dict(enumerate(labels or ("value",)))
    try:
        loaded: Any = kind.classifier.from_pretrained(
            folder,
            id2label=names,
            label2id={label: number for number, label in names.items()},
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            attn_implementation=kind.attention,
        )
    except Exception as error:
        raise ArtifactError(
            f"{folder} is damaged or no {kind.model_type} model: {reason_of(error)}"
        ) from error
    module, report = loaded
    fresh = {*report["missing_keys"], *(entry[0] for entry in report["mismatched_keys"])}
    odd = sorted(name for name in fresh if not name.startswith(kind.fresh))
    if odd:
        raise ArtifactError(f"{folder}: its weights do not fit its config.json (see {odd[0]})")
    return module


def _tokenizer(folder: Path) -> Tokenizer:
    if (folder / "tokenizer.json").is_file():
        tokenizer = load_tokenizer(folder / "tokenizer.json")
    else:
        loaded = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        tokenizer = Tokenizer.from_str(loaded.backend_tokenizer.to_str())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
