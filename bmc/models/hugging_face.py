"""Find, check and load Hugging Face folders, for families with pretrained weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import normalizers
from torch import nn

from bmc import assets, console
from bmc.contracts import families
from bmc.contracts.tasks import EMBEDDING, TOKENS
from bmc.errors import ArtifactError, AssetError, SettingError, UnknownError, reason_of
from bmc.inputs.text import TextEncoder, TextSettings
from bmc.inputs.words import WordEncoder
from bmc.model import Model
from bmc.models._hugging_face_config import BERT_KEYS, FamilyKeys, checked
from bmc.models._hugging_face_head import PROBLEM_TYPES, Match, head_of, match_head
from bmc.models._hugging_face_tokenizer import FolderTokenizer, tokenizer_of
from bmc.models._hugging_face_weights import Weights, check_fit, expected_of, weights_of
from bmc.models._sentence_folder import MODULES, SentenceFolder
from bmc.models._sentence_folder import read as read_sentence_folder
from bmc.models.sentences import KEY, SentenceEncoder, VectorSettings
from bmc.untrusted import read_json

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

_NOTED = (
    "vectors",
    "head",
    "dtype",
    "case",
    "max_length",
    "truncation_side",
    "dropped",
    "different",
)
_FILES = (
    *("config.json", "adapter_config.json", "*.safetensors", "model.safetensors.index.json"),
    *("tokenizer*", "vocab.*", "merges.txt", "special_tokens_map.json", "added_tokens.json"),
    *("spiece.model", "spm.model", "sentencepiece.bpe.model"),
    *(MODULES, "sentence_*_config.json", "config_sentence_transformers.json", "*/config.json"),
    "*_Dense/*.safetensors",
)
_TRANSFORMER = "0_Transformer"  # folder of the encoder in some sentence-transformers folders


@dataclass(frozen=True)
class Architecture:
    """The transformers classes and names that a family uses.

    Args:
        model_type: `model_type` in config.json, and the name of the family.
        classifier: class with a classification head.
        config: class of the configuration.
        fresh: prefixes of the names of weights that a folder may lack, which are initialized anew.
        output: path of the last layer.
        reserved: number of positions before the position of a text's first token; None where that
            is the position after the padding's id.
        attention: attention implementation that transformers must use; None for its default.
        base: attribute of the model without its head; "" where it is the model type.
        keys: entries of config.json in which the family differs from BERT.
        pairs_need_types: whether the texts of a pair are told apart by token types alone; else
            rows of pairs need none, and token types are an input where the model has two.
        has_types: whether networks of the family have token types, whatever config.json says.
        prepare: function that rearranges a loaded or new module; None where it stays as it is.
    """

    model_type: str
    classifier: Any
    config: Any
    fresh: tuple[str, ...]
    output: str
    reserved: int | None = 0
    attention: str | None = None
    base: str = ""
    keys: FamilyKeys = BERT_KEYS
    pairs_need_types: bool = True
    has_types: bool = True
    prepare: Callable[[Any], None] | None = None

    def first_position(self, padding: int | None) -> int:
        """Return the position of a text's first token, given the padding's id in config.json."""
        return (padding or 0) + 1 if self.reserved is None else self.reserved

    def prepared(self, module: Any) -> Any:
        """Return a module in evaluation mode, rearranged as the family wants it."""
        if self.prepare is not None:
            self.prepare(module)
        return module.eval()

    def is_named_in(self, spec: Mapping[str, Any]) -> bool:
        """Tell whether a configuration names the class of this architecture."""
        return bool(spec.get("architectures") == [self.classifier.__name__])


def tagger_of(kind: Architecture, tagger: Any) -> Architecture:
    """Return the architecture of a family's token classifiers, whose head is one linear layer.

    Args:
        kind: architecture of the family's classifiers of texts.
        tagger: class of transformers with a head for each token.
    """
    fresh = ("classifier.", "head.") if "head." in kind.fresh else ("classifier.",)
    return replace(kind, classifier=tagger, fresh=fresh, output="classifier")


def build(spec: Mapping[str, Any], kind: Architecture) -> nn.Module:
    """Build an untrained classifier from Hugging Face's own configuration keys.

    Raises:
        ArtifactError: the configuration is of another kind, or inconsistent.
    """
    entries = checked(spec, kind.model_type, kind.keys)
    try:
        config = kind.config(**entries, attn_implementation=kind.attention)
        module: nn.Module = kind.classifier(config)
    except Exception as error:  # transformers checks a configuration with errors of many kinds
        raise ArtifactError(
            f"the model's config.json does not fit together ({reason_of(error, -1)})"
        ) from error
    prepared: nn.Module = kind.prepared(module)
    if KEY not in spec:
        return prepared
    hidden = _hidden_of(spec, kind)
    return _sentence_encoder(prepared, VectorSettings.of(spec, hidden), kind)


def _sentence_encoder(module: Any, settings: VectorSettings, kind: Architecture) -> SentenceEncoder:
    """Return a classifier's encoder with a head that makes vectors."""
    base = kind.base or kind.model_type
    encoder = SentenceEncoder(getattr(module, base), base, settings)
    return encoder.eval()


def _hidden_of(spec: Mapping[str, Any], kind: Architecture) -> int:
    """Return the width of the tokens' vectors."""
    return int(spec.get(kind.keys.name("hidden_size"), kind.keys.hidden))


def pretrained(
    reference: str,
    source: str,
    labels: Sequence[str],
    text: TextSettings,
    kind: Architecture,
    task: str | None = None,
    prompt: str = "",
) -> Model:
    """Load pretrained weights under a classifier for these labels, or one value without labels.

    For sentence embeddings the encoder gets the folder's pooling, dense layers and normalization.

    Rows of the folder's head are kept for classes of the same names. Decisions about head, dtype
    and tokenizer are shown as notes and recorded in the model's origin.

    Args:
        reference: reference that the user typed.
        source: source of that reference: asset:NAME, a local Hugging Face folder, or
            hf:org/name@revision.
        labels: class names; empty for a regression.
        text: settings of tokenization; other settings come from the folder.
        kind: architecture of the family.
        task: name of the task; classification, or regression without labels, when None.
        prompt: name of the folder's prompt that is put before each text to embed; "" for the
            folder's default.

    Raises:
        UnknownError: the folder is not a Hugging Face model folder.
        ArtifactError: the model is of another kind, its weights are pickled, damaged or do not fit
            its config.json, its head is of another task, or its tokenizer does not fit.
        SettingError: the model has fewer positions than `max_length`, or lacks token types for
            pairs; or a prompt is named for another task, or is not in the folder.
    """
    if prompt and task != EMBEDDING:
        raise SettingError(
            f"prompt is {prompt!r:.60}, and prompts are for sentence embeddings: leave it out, or "
            "take --task embedding"
        )
    folder = folder_of(source)
    config = read_json(folder / "config.json", "Hugging Face model folder", links=True)
    if config.get("model_type") != kind.model_type:
        raise unknown_type(reference, config)
    weights = weights_of(folder)
    try:
        task = task or ("classification" if labels else "regression")
        module, decided = _loaded(folder, config, weights, labels, kind, task)
    except ArtifactError as error:
        raise ArtifactError(f"{reference}: {error}") from error
    spec = {**module.config.to_dict(), "architectures": [kind.classifier.__name__]}
    spec.pop("_name_or_path", None)
    module = kind.prepared(module)
    sentence: SentenceFolder | None = None
    if task == EMBEDDING:
        sentence = read_sentence_folder(folder, _hidden_of(spec, kind), source)
        module, text = _with_vectors(module, sentence, text, kind, prompt)
        spec[KEY] = sentence.vectors.to_json()
        decided = {**decided, "vectors": _described(sentence, text.max_length)}
        del decided["head"]
    if kind.pairs_need_types and text.columns > spec.get("type_vocab_size", 1):
        raise SettingError(f"{reference} has one token type; sentence pairs need two")
    positions = spec["max_position_embeddings"] - kind.first_position(spec.get("pad_token_id"))
    if task == EMBEDDING:  # a folder that is named as a teacher has no options of its own
        text = replace(text, max_length=min(text.max_length, positions))
    if text.max_length > positions:
        raise SettingError(
            f"max length is {text.max_length}; {reference} has {positions} positions: take "
            f"--max-length {positions} or less"
        )
    tokenizer = tokenizer_of(folder, spec["vocab_size"], spec.get("type_vocab_size", 1))
    settings = _settings(text, tokenizer, spec, reference, kind)
    decided |= {"tokenizer": tokenizer.class_name, **_notes_on(tokenizer, settings, text)}
    if sentence is not None and sentence.lower_case:
        steps = [normalizers.Lowercase(), *filter(None, [tokenizer.tokenizer.normalizer])]
        tokenizer.tokenizer.normalizer = normalizers.Sequence(steps)
        decided["case"] = "texts are lower-cased, as its do_lower_case says"
    for key, note in decided.items():
        if key in _NOTED:
            console.note(f"{reference}: {note}")
    encoder_type = WordEncoder if task == TOKENS else TextEncoder
    encoder = encoder_type(tokenizer.tokenizer, settings)
    origin = {"pretrained": {"reference": reference, **decided}}
    return Model(module, kind.model_type, spec, tuple(labels), encoder, task, origin=origin)


def _with_vectors(
    module: Any, sentence: SentenceFolder, text: TextSettings, kind: Architecture, prompt: str
) -> tuple[SentenceEncoder, TextSettings]:
    """Return the encoder of sentences of a folder, and the settings of its texts."""
    encoder = _sentence_encoder(module, sentence.vectors, kind)
    encoder.head.dense.load_state_dict(sentence.weights)
    longest = min(text.max_length, sentence.max_length or text.max_length)
    return encoder, replace(text, max_length=longest, prompt=sentence.prompt(prompt))


def _described(sentence: SentenceFolder, max_length: int) -> str:
    """Say how vectors are made, and how much of a text the folder would read."""
    vectors = sentence.vectors
    dense = f", {len(vectors.dense)} dense" if vectors.dense else ""
    normal = ", of length 1" if vectors.normalize else ""
    made = f"vectors of {vectors.width} numbers: {'+'.join(vectors.pooling)} pooling{dense}{normal}"
    if (sentence.max_length or 0) <= max_length:
        return made
    return (
        f"{made}; texts are cut to {max_length} tokens, not to the folder's {sentence.max_length} "
        f"(bmc train --set max_length={sentence.max_length} changes it)"
    )


def unknown_type(reference: str, config: Mapping[str, Any]) -> ArtifactError:
    """Return the error for a folder whose `model_type` no family, or another family, loads."""
    possible = ", ".join(sorted(families.model_types()))
    model_type = config.get("model_type")
    if model_type is None and (Path(reference) / "bmc.json").is_file():
        return ArtifactError(
            f"{reference} is a trained model of bmc, and `bmc train` takes the model that it was "
            f"made from: bmc distill --teacher {reference} --student {reference} trains it further "
            "from its own weights"
        )
    if model_type is None:
        return ArtifactError(
            f"{reference}: its config.json has no model_type; write one of {possible} into it"
        )
    return ArtifactError(
        f"{reference} is a {model_type!r:.60} model; `bmc train` takes models of the types "
        f"{possible}"
    )


def _settings(
    text: TextSettings,
    tokenizer: FolderTokenizer,
    spec: Mapping[str, Any],
    reference: str,
    kind: Architecture,
) -> TextSettings:
    """Return the requested settings, limited to the tokenizer's maximum length."""
    longest = min(text.max_length, tokenizer.max_length or text.max_length)
    model_pad_id = spec.get("pad_token_id") or 0
    has_types = kind.has_types and spec.get("type_vocab_size", 0) > 1
    reads_types = has_types and tokenizer.pair_types
    try:
        return replace(
            text,
            max_length=longest,
            pad_id=model_pad_id if tokenizer.pad_id is None else tokenizer.pad_id,
            truncation_side=tokenizer.truncation_side,
            pair_types=tokenizer.pair_types if kind.pairs_need_types else reads_types,
            type_input=kind.pairs_need_types or reads_types,
            vocabulary=spec["vocab_size"],
        )
    except SettingError as error:
        raise ArtifactError(f"{reference}: tokenizer_config.json: {error}") from error


def _notes_on(
    tokenizer: FolderTokenizer, settings: TextSettings, text: TextSettings
) -> dict[str, Any]:
    """Return sentences about the tokenizer, by the keys under which they are recorded."""
    normalizer = tokenizer.tokenizer.normalizer
    lowercase = bool(getattr(normalizer, "lowercase", False))
    strip_accents = getattr(normalizer, "strip_accents", None)
    strips = lowercase if strip_accents is None else strip_accents
    notes: dict[str, Any] = {
        "case": f"{tokenizer.class_name} {'lower-cases' if lowercase else 'keeps case'}"
        f" and {'strips' if strips else 'keeps'} accents",
    }
    if settings.max_length < text.max_length:
        notes["max_length"] = (
            f"texts are cut to {settings.max_length} tokens, which its model_max_length says, not "
            f"to {text.max_length}"
        )
    if settings.truncation_side != "right":
        notes["truncation_side"] = f"long texts are cut at their {settings.truncation_side} end"
    if tokenizer.different:
        notes["different"] = (
            f"{tokenizer.class_name}, which transformers takes for it, splits "
            f"{tokenizer.different!r} in another way than its tokenizer.json does; to read texts "
            'as the file says, write "tokenizer_class": "PreTrainedTokenizerFast" into '
            "tokenizer_config.json"
        )
    if tokenizer.dropped:
        notes["dropped"] = (
            f"{', '.join(tokenizer.dropped)} has no embedding in the model, and is not a token"
        )
    return notes


def folder_of(source: str) -> Path:
    """Return the local folder of a source: asset:NAME, hf:org/name@revision, or a folder.

    Raises:
        UnknownError: the folder is not a Hugging Face model folder.
        AssetError: the files could not be downloaded.
    """
    if source.startswith("asset:"):
        return assets.fetch(source.removeprefix("asset:"))
    if source.startswith("hf:"):
        return _from_hub(source)
    nested = Path(source) / _TRANSFORMER
    if not (Path(source) / "config.json").is_file() and (nested / "config.json").is_file():
        return nested
    if not (Path(source) / "config.json").is_file():
        raise UnknownError(f"{source} is not a Hugging Face model folder: it has no config.json")
    return Path(source)


def _from_hub(reference: str) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415  slow to import, rarely used
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError  # noqa: PLC0415

    name, _, revision = reference.removeprefix("hf:").partition("@")
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=list(_FILES)))
    except (OSError, HfHubHTTPError, HFValidationError, ValueError) as error:
        raise AssetError(
            f"{reference} could not be downloaded from the Hugging Face hub ({reason_of(error)}); "
            "download it elsewhere and name its folder"
        ) from error


def _loaded(
    folder: Path,
    config: Mapping[str, Any],
    weights: Weights,
    labels: Sequence[str],
    kind: Architecture,
    task: str,
) -> tuple[Any, dict[str, Any]]:
    """Load weights, with the rows of the head in the order of the labels.

    Returns:
        the module, and decisions about head and dtype, by the keys under which they are recorded.
    """
    names = dict(enumerate(labels or ("value",)))
    entries = checked(config, kind.model_type, kind.keys)
    entries |= {
        "id2label": names,
        "label2id": {label: number for number, label in names.items()},
        "problem_type": PROBLEM_TYPES.get(task),
    }
    entries.pop("num_labels", None)
    match = Match((None,), "vectors have no head")
    if task != EMBEDDING:
        head = head_of(config, weights.shapes.get(f"{kind.output}.weight", (0,))[0], task)
        match = match_head(head, labels)
    try:
        settings = kind.config(**entries, attn_implementation=kind.attention)
        expected = expected_of(kind.classifier, settings)
    except Exception as error:  # transformers checks a configuration with errors of many kinds
        raise ArtifactError(
            f"its config.json does not fit together ({reason_of(error, -1)})"
        ) from error
    formats = check_fit(weights, expected, kind.base or kind.model_type, kind.fresh)
    module = _from_pretrained(folder, settings, kind)
    _place_rows(module.get_submodule(kind.output), match, weights, kind.output, module.config)
    decided: dict[str, Any] = {"head": match.explanation, "rows": list(match.rows)}
    if formats - {"float32"}:
        decided["dtype"] = f"weights of {', '.join(sorted(formats))} are read as float32"
    return module, decided


def _from_pretrained(folder: Path, settings: Any, kind: Architecture) -> Any:
    """Load weights; a head that is missing or of another size is initialized anew."""
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
        raise ArtifactError(
            f"damaged or not a {kind.model_type} model: {reason_of(error)}"
        ) from error
    fresh = {*report["missing_keys"], *(entry[0] for entry in report["mismatched_keys"])}
    required = sorted(name for name in fresh if not name.startswith(kind.fresh))
    if required:
        raise ArtifactError(f"its weights do not fit its config.json (see {required[0]})")
    return module


def _place_rows(last: Any, match: Match, weights: Weights, path: str, config: Any) -> None:
    """Copy the folder's rows of the head in the order of the labels; initialize other rows anew."""
    rows = [row for row in match.rows if row is not None]
    new_rows = [new_row for new_row, row in enumerate(match.rows) if row is not None]
    shape = weights.shapes.get(f"{path}.weight", (0, 0))
    if shape[0] == len(match.rows) and len(rows) < len(match.rows):
        torch.nn.init.normal_(last.weight, std=config.initializer_range)
        torch.nn.init.zeros_(last.bias)
    if not rows:
        return
    if shape[1:] != tuple(last.weight.shape[1:]) or f"{path}.bias" not in weights.shapes:
        raise ArtifactError(f"its weights do not fit its config.json (see {path}.weight)")
    with torch.no_grad():
        last.weight[new_rows] = weights.read(f"{path}.weight")[rows]
        last.bias[new_rows] = weights.read(f"{path}.bias")[rows]
