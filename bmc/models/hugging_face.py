"""Hugging Face folders: how families with pretrained weights find, check and load them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from bmc import assets, console
from bmc.errors import ArtifactError, AssetError, SettingError, UnknownError, reason_of
from bmc.inputs.text import TextEncoder, TextSettings
from bmc.model import Model
from bmc.models._hugging_face_config import checked
from bmc.models._hugging_face_head import Match, head_of, match_head
from bmc.models._hugging_face_tokenizer import FolderTokenizer, tokenizer_of
from bmc.models._hugging_face_weights import Weights, check_fit, expected_of, weights_of
from bmc.untrusted import read_json

transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]

_SAID = ("head", "dtype", "case", "max_length", "truncation_side", "dropped")
_FILES = (
    *("config.json", "adapter_config.json", "*.safetensors", "model.safetensors.index.json"),
    *("tokenizer*", "vocab.*", "merges.txt", "special_tokens_map.json", "added_tokens.json"),
    *("spiece.model", "sentencepiece.bpe.model"),
)


@dataclass(frozen=True)
class Architecture:
    """A kind of model that transformers knows, as a family uses it.

    Args:
        model_type: Hugging Face's name of it, and the family's.
        classifier: its class with a classification head.
        config: the class of its configuration.
        fresh: how the names of weights start that a folder need not have: they are made anew.
        output: path of the last layer.
        reserved: positions before a text's first token's.
        attention: the implementation that is asked of transformers; its own choice when None.
    """

    model_type: str
    classifier: Any
    config: Any
    fresh: tuple[str, ...]
    output: str
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
            f"the model's config.json does not fit together ({reason_of(error, -1)})"
        ) from error
    return module.eval()


def pretrained(
    reference: str, source: str, labels: Sequence[str], text: TextSettings, kind: Architecture
) -> Model:
    """Load pretrained weights under a classifier for these labels, or one value without labels.

    A head's rows follow the names of the classes; what was decided is said, and stands in the
    model's origin.

    Args:
        reference: what a user typed.
        source: where that is: asset:NAME, a local Hugging Face folder, or hf:org/name@revision.
        labels: class names; none for a regression.
        text: how text is cut; the rest is taken from the folder.
        kind: of model.

    Raises:
        UnknownError: the folder is no Hugging Face model.
        ArtifactError: it is another kind of model, its weights are pickled, damaged or do not fit
            its config.json, its head has several labels a row, or its tokenizer does not fit.
        SettingError: it has fewer positions than `max_length`, or no token types for pairs.
    """
    folder = folder_of(source)
    config = read_json(folder / "config.json", "Hugging Face model folder", links=True)
    if config.get("model_type") != kind.model_type:
        raise ArtifactError(
            f"{reference} is a {config.get('model_type')!r:.60} model; `bmc train` takes bert and "
            "mpnet models"
        )
    weights = weights_of(folder)
    try:
        module, decided = _loaded(folder, config, weights, labels, kind)
    except ArtifactError as error:
        raise ArtifactError(f"{reference}: {error}") from error
    spec = {**module.config.to_dict(), "architectures": [kind.classifier.__name__]}
    spec.pop("_name_or_path", None)
    if text.columns > spec.get("type_vocab_size", 1):
        raise SettingError(f"{reference} knows one token type; sentence pairs need two")
    positions = spec["max_position_embeddings"] - kind.reserved
    if text.max_length > positions:
        raise SettingError(
            f"max length is {text.max_length}; {reference} has {positions} positions"
        )
    made = tokenizer_of(folder, spec["vocab_size"], spec.get("type_vocab_size", 1))
    settings = _settings(text, made, spec, reference)
    decided |= {"tokenizer": made.class_name, **_said_of_tokenizer(made, settings, text)}
    for key, said in decided.items():
        if key in _SAID:
            console.note(f"{reference}: {said}")
    task = "classification" if labels else "regression"
    encoder = TextEncoder(made.tokenizer, settings)
    origin = {"pretrained": {"reference": reference, **decided}}
    return Model(module, kind.model_type, spec, tuple(labels), encoder, task, origin=origin)


def _settings(
    text: TextSettings, made: FolderTokenizer, spec: Mapping[str, Any], reference: str
) -> TextSettings:
    """Return how texts are cut: as was asked, within what the tokenizer was made for."""
    longest = min(text.max_length, made.max_length or text.max_length)
    try:
        return replace(
            text,
            max_length=longest,
            pad_id=spec.get("pad_token_id") or 0 if made.pad_id is None else made.pad_id,
            truncation_side=made.truncation_side,
            pair_types=made.pair_types,
            vocabulary=spec["vocab_size"],
        )
    except SettingError as error:
        raise ArtifactError(f"{reference}: tokenizer_config.json: {error}") from error


def _said_of_tokenizer(
    made: FolderTokenizer, settings: TextSettings, text: TextSettings
) -> dict[str, Any]:
    normalizer = made.tokenizer.normalizer
    lowercase = bool(getattr(normalizer, "lowercase", False))
    stripped = getattr(normalizer, "strip_accents", None)
    said: dict[str, Any] = {
        "case": f"{made.class_name} {'lower-cases' if lowercase else 'keeps case'}"
        f" and {'strips' if (lowercase if stripped is None else stripped) else 'keeps'} accents",
    }
    if settings.max_length < text.max_length:
        said["max_length"] = (
            f"texts are cut to {settings.max_length} tokens, which its model_max_length says, not "
            f"to {text.max_length}"
        )
    if settings.truncation_side != "right":
        said["truncation_side"] = f"long texts are cut at their {settings.truncation_side} end"
    if made.dropped:
        said["dropped"] = f"{', '.join(made.dropped)} has no row in the model, and is no token"
    return said


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
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=list(_FILES)))
    except (OSError, HfHubHTTPError, HFValidationError, ValueError) as error:
        raise AssetError(
            f"{reference} could not be had from the Hugging Face hub ({reason_of(error)}); "
            "download it elsewhere and name its folder"
        ) from error


def _loaded(
    folder: Path,
    config: Mapping[str, Any],
    weights: Weights,
    labels: Sequence[str],
    kind: Architecture,
) -> tuple[Any, dict[str, Any]]:
    """Load weights under a head whose rows follow the labels; return what was decided, too."""
    names = dict(enumerate(labels or ("value",)))
    known = checked(config, kind.model_type)
    known |= {
        "id2label": names,
        "label2id": {label: number for number, label in names.items()},
        "problem_type": None if labels else "regression",
    }
    known.pop("num_labels", None)
    last = f"{kind.output}.weight"
    head = head_of(config, weights.shapes.get(last, (0,))[0])
    match = match_head(head, labels)
    try:
        settings = kind.config(**known, attn_implementation=kind.attention)
        expected = expected_of(kind.classifier, settings)
    except Exception as error:  # transformers checks a configuration with errors of many kinds
        raise ArtifactError(
            f"its config.json does not fit together ({reason_of(error, -1)})"
        ) from error
    formats = check_fit(weights, expected, kind.model_type, kind.fresh)
    module = _from_pretrained(folder, settings, kind)
    _place_rows(module.get_submodule(kind.output), match, weights, kind.output, module.config)
    decided: dict[str, Any] = {"head": match.explanation, "rows": list(match.rows)}
    if formats - {"float32"}:
        decided["dtype"] = f"weights of {', '.join(sorted(formats))} are read as float32"
    return module, decided


def _from_pretrained(folder: Path, settings: Any, kind: Architecture) -> Any:
    """Load weights; a head that is missing or of another size is made anew."""
    try:
        module, report = kind.classifier.from_pretrained(
            folder,
            config=settings,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            attn_implementation=kind.attention,
        )
    except Exception as error:  # transformers' errors are of many kinds
        raise ArtifactError(f"damaged or no {kind.model_type} model: {reason_of(error)}") from error
    fresh = {*report["missing_keys"], *(entry[0] for entry in report["mismatched_keys"])}
    odd = sorted(name for name in fresh if not name.startswith(kind.fresh))
    if odd:
        raise ArtifactError(f"its weights do not fit its config.json (see {odd[0]})")
    return module


def _place_rows(last: Any, match: Match, weights: Weights, path: str, config: Any) -> None:
    """Put the folder's rows where the labels want them; the others are drawn anew."""
    rows = [row for row in match.rows if row is not None]
    places = [place for place, row in enumerate(match.rows) if row is not None]
    there = weights.shapes.get(f"{path}.weight", (0, 0))
    if there[0] == len(match.rows) and len(rows) < len(match.rows):
        torch.nn.init.normal_(last.weight, std=config.initializer_range)
        torch.nn.init.zeros_(last.bias)
    if not rows:
        return
    if there[1:] != tuple(last.weight.shape[1:]) or f"{path}.bias" not in weights.shapes:
        raise ArtifactError(f"its weights do not fit its config.json (see {path}.weight)")
    with torch.no_grad():
        last.weight[places] = weights.read(f"{path}.weight")[rows]
        last.bias[places] = weights.read(f"{path}.bias")[rows]
