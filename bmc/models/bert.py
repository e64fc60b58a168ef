"""BERT encoders for classification: the teacher `bert` and students of any size.

Source: Devlin et al. 2019, "BERT"; Turc et al. 2019, "Well-Read Students Learn Better" (sizes).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

from bmc import assets
from bmc.errors import ArtifactError, AssetError, SettingError, UnknownError
from bmc.files import read_json
from bmc.model import Model, Parts
from bmc.models._bert_inference import InferenceForm
from bmc.text import TextSettings, load_tokenizer

transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]

# Adam's steps do not depend on a weight's size, so larger embeddings keep more of the teacher's;
# the norm behind them takes the factor out again.
EMBEDDING_SCALE = 20.0

BASELINES: Mapping[str, str] = {"bert": "asset:minilm", "minilm": "asset:minilm"}


@dataclass(frozen=True)
class Size:
    """How big a student is."""

    layers: int
    hidden: int
    heads: int

    def __post_init__(self) -> None:
        for name, value in (
            ("layers", self.layers),
            ("hidden", self.hidden),
            ("heads", self.heads),
        ):
            if value < 1:
                raise SettingError(f"{name} is {value}; it must be at least 1")
        if self.hidden % self.heads:
            raise SettingError(
                f"hidden {self.hidden} does not divide by {self.heads} heads; "
                f"try {self.hidden // self.heads * self.heads or self.heads}"
            )


STUDENTS: Mapping[str, Size] = {
    "tiny": Size(layers=2, hidden=128, heads=2),
    "mini": Size(layers=4, hidden=256, heads=4),
    "small": Size(layers=4, hidden=384, heads=6),
}


def build(spec: Mapping[str, Any]) -> nn.Module:
    """Build an untrained classifier from Hugging Face's own configuration keys.

    Raises:
        ArtifactError: the configuration is no BERT's, or does not fit together.
    """
    if spec.get("model_type") != "bert":
        raise ArtifactError(f"model type {spec.get('model_type')!r} is not bert")
    try:
        module: nn.Module = BertForSequenceClassification(BertConfig(**spec))
    except Exception as error:
        raise ArtifactError(
            f"the model's config.json does not fit together ({type(error).__name__}: {error})"
        ) from error
    return module.eval()


def pretrained(reference: str, labels: Sequence[str], text: TextSettings) -> Model:
    """Load pretrained weights under a classifier for these labels.

    Args:
        reference: a baseline's name, a local Hugging Face folder, or hf:org/name@revision.
        labels: class names.
        text: how text is cut; the padding id is taken from the tokenizer.

    Raises:
        UnknownError: the folder is no Hugging Face model.
        ArtifactError: it is another kind of model, or its weights are pickled, damaged or do not
            fit its config.json.
        SettingError: it has fewer positions than `max_length`, or no token types for pairs.
    """
    folder = _folder(reference)
    config = read_json(folder / "config.json", "Hugging Face model folder")
    if config.get("model_type") != "bert":
        raise ArtifactError(
            f"{reference} is a {config.get('model_type')!r} model; `bmc train` takes bert models"
        )
    if not (folder / "model.safetensors").is_file():
        raise ArtifactError(
            f"{reference} has no model.safetensors (pickled weights are not read); convert it: "
            "AutoModel.from_pretrained(...).save_pretrained(...)"
        )
    module = _with_classifier(folder, labels)
    spec = {**module.config.to_dict(), "architectures": ["BertForSequenceClassification"]}
    spec.pop("_name_or_path", None)
    tokenizer = _tokenizer(folder)
    if text.columns > spec["type_vocab_size"]:
        raise SettingError(f"{reference} knows one token type; sentence pairs need two")
    if text.max_length > spec["max_position_embeddings"]:
        raise SettingError(
            f"max length is {text.max_length}; {reference} has "
            f"{spec['max_position_embeddings']} positions"
        )
    settings = TextSettings(text.max_length, text.columns, spec.get("pad_token_id") or 0)
    return Model(module, "bert", spec, tuple(labels), tokenizer, settings)


def student(teacher: Model, size: Size) -> Model:
    """Build a smaller model whose embeddings start as the best low-rank view of the teacher's.

    The teacher's word table W (vocabulary x teacher width) is U S V^T; the student's is U S cut to
    its width, which is W V cut likewise, so that positions and types are projected by the same V.
    It has no dropout: it sees more text than it could learn by heart.

    Args:
        teacher: a trained BERT model.
        size: layers, hidden width and heads of the student.

    Raises:
        SettingError: the student is wider than its teacher.
    """
    width = teacher.spec["hidden_size"]
    if size.hidden > width:
        raise SettingError(f"the student's hidden {size.hidden} exceeds its teacher's {width}")
    spec = {
        **teacher.spec,
        "num_hidden_layers": size.layers,
        "hidden_size": size.hidden,
        "num_attention_heads": size.heads,
        "intermediate_size": 4 * size.hidden,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    module = build(spec)
    taught = teacher.module.get_submodule("bert.embeddings")
    fresh = module.get_submodule("bert.embeddings")
    words = taught.get_parameter("word_embeddings.weight").detach()
    eigenvectors = torch.linalg.eigh((words.T @ words).double()).eigenvectors.flip(1)
    basis = eigenvectors[:, : size.hidden].to(words.dtype)
    with torch.no_grad():
        for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
            table = taught.get_parameter(f"{name}.weight")
            fresh.get_parameter(f"{name}.weight").copy_(EMBEDDING_SCALE * table @ basis)
    # Without dropout, plain attention trains small layers faster than the fused kernel on CPUs.
    module.set_attn_implementation("eager")  # type: ignore[operator]
    return Model(module, "bert", spec, teacher.labels, teacher.tokenizer, teacher.text)


def examples(module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return two inputs of different shapes, for tracing and for checking."""
    vocabulary = module.get_parameter("bert.embeddings.word_embeddings.weight").shape[0]
    generator = torch.Generator().manual_seed(0)

    def one(rows: int, length: int) -> dict[str, Tensor]:
        ids = torch.randint(0, vocabulary, (rows, length), generator=generator)
        mask = torch.ones_like(ids)
        mask[0, length // 2 :] = 0
        return {"input_ids": ids, "attention_mask": mask}

    return one(2, 12), one(3, 7)


def inference_form(module: nn.Module, columns: int = 1) -> nn.Module:
    """Return the module that is exported: the same answers in fewer, larger operations."""
    return InferenceForm(module, pairs=columns == 2)


def parts(module: nn.Module) -> Parts:
    """Say where the layers, heads, embeddings and outputs are."""
    layers = [name for name, _ in module.named_modules() if re.fullmatch(r".*\.layer\.\d+", name)]
    heads = {}
    for name in [f"{layer}.attention.self" for layer in layers]:
        attention: Any = module.get_submodule(name)
        heads[name] = int(attention.num_attention_heads)
    tables = [name for name, part in module.named_modules() if isinstance(part, nn.Embedding)]
    return Parts(tuple(layers), heads, tuple(tables), ("classifier",))


def _folder(reference: str) -> Path:
    source = BASELINES.get(reference, reference)
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
        reason = str(error).strip().splitlines()[0]
        raise AssetError(
            f"{reference} could not be had from the Hugging Face hub ({reason}); "
            "download it elsewhere and name its folder"
        ) from error


def _with_classifier(folder: Path, labels: Sequence[str]) -> Any:
    """Load weights; a classifier that is missing or of another size is made anew."""
    names = dict(enumerate(labels))
    try:
        loaded: Any = BertForSequenceClassification.from_pretrained(
            folder,
            id2label=names,
            label2id={label: number for number, label in names.items()},
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except Exception as error:
        first = str(error).strip().splitlines()[0]
        raise ArtifactError(f"{folder} is damaged or no bert model: {first}") from error
    module, report = loaded
    fresh = {*report["missing_keys"], *(entry[0] for entry in report["mismatched_keys"])}
    odd = sorted(name for name in fresh if not name.startswith(("classifier.", "bert.pooler.")))
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
