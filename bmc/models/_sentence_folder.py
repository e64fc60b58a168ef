"""Read a folder of sentence-transformers: pooling, dense layers, normalization and prompts.

modules.json                         the modules, in order, each with its folder and class
1_Pooling/config.json                which vectors of the tokens are pooled, and how
2_Dense/config.json, .safetensors    a linear layer after the pooling
sentence_bert_config.json            the largest number of tokens
config_sentence_transformers.json    prompts, which stand before a text

Source: Reimers and Gurevych 2019, "Sentence-BERT"; the format is that of sentence-transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from torch import Tensor

from bmc.errors import ArtifactError, SettingError
from bmc.models._hugging_face_weights import weights_of
from bmc.models.sentences import ACTIVATIONS, DenseSettings, VectorSettings
from bmc.untrusted import parse_json, read_bytes, read_json

MODULES = "modules.json"
_WHAT = "sentence-transformers folder"
_NORMALIZED = ("asset:minilm", "asset:mpnet")  # assets without modules.json, whose vectors are
_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_MAX_BYTES = 2**20
_MAX_MODULES = 16

_MODELS = ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
_SETTINGS = tuple(f"sentence_{model}_config.json" for model in _MODELS)


@dataclass(frozen=True)
class SentenceFolder:
    """What a folder says of its vectors.

    Args:
        vectors: how a vector is made of the tokens' vectors.
        weights: weight and bias of each dense layer, by name, "0.weight" for example.
        max_length: largest number of tokens of a text; None where the folder does not say it.
        prompts: texts to put before a text, by name.
        default_prompt: name of the prompt of a text for which none is named; "" for none.
        prompt_is_pooled: whether the tokens of a prompt are pooled.
        lower_case: whether texts are lower-cased before the tokenizer reads them.
    """

    vectors: VectorSettings
    weights: Mapping[str, Tensor]
    max_length: int | None = None
    prompts: Mapping[str, str] | None = None
    default_prompt: str = ""
    prompt_is_pooled: bool = True
    lower_case: bool = False

    def prompt(self, name: str) -> str:
        """Return the text to put before each text.

        Args:
            name: name of a prompt, "none", or "" for the folder's default.

        Raises:
            SettingError: the folder has no such prompt.
            ArtifactError: the prompt's tokens are not pooled.
        """
        prompts = self.prompts or {}
        name = name or self.default_prompt
        if name in ("", "none"):
            return ""
        if name not in prompts:
            possible = ", ".join([*prompts, "none"])
            raise SettingError(f"prompt is {name!r:.60}; the folder has {possible}")
        if prompts[name] and not self.prompt_is_pooled:
            raise ArtifactError(
                f"1_Pooling leaves the tokens of a prompt out (include_prompt false), which bmc "
                f"does not build: take --set prompt=none, or write include_prompt true to pool "
                f"the prompt {name!r:.40}, too"
            )
        return prompts[name]


def read(folder: Path, hidden: int, source: str = "") -> SentenceFolder:
    """Read how a folder makes vectors; without modules.json it is mean pooling alone.

    Args:
        folder: the folder with the encoder's config.json; modules.json is in it, or above it.
        hidden: width of the tokens' vectors.
        source: source of the folder, such as asset:minilm.

    Raises:
        ArtifactError: the folder has a module that bmc does not build, or a file is malformed.
    """
    root = next((path for path in (folder, folder.parent) if (path / MODULES).is_file()), None)
    if root is None or (root == folder.parent and not folder.name.startswith("0_")):
        is_normalized = source in _NORMALIZED
        return SentenceFolder(VectorSettings(hidden, normalize=is_normalized), {})
    vectors, weights, is_pooled = VectorSettings(hidden), dict[str, Tensor](), False
    prompt_is_pooled = True
    for position, (kind, path) in enumerate(_modules(root)):
        if kind == "Transformer" and position == 0:
            continue
        if kind == "Pooling" and not is_pooled:
            config = read_json(path / "config.json", _WHAT, links=True)
            pooling = _pooling(config, path)
            vectors = replace(vectors, pooling=pooling, width=hidden * len(pooling))
            is_pooled, prompt_is_pooled = True, bool(config.get("include_prompt", True))
        elif kind == "Dense" and is_pooled and not vectors.normalize:
            layer, tensors = _dense(path)
            number = len(vectors.dense)
            weights |= {f"{number}.{name}": tensor for name, tensor in tensors.items()}
            vectors = replace(vectors, dense=(*vectors.dense, layer), width=layer.outputs)
        elif kind == "Normalize" and is_pooled:
            vectors = replace(vectors, normalize=True)
        elif kind != "Dropout":  # which does nothing after training
            raise ArtifactError(
                f"{root / MODULES}: module {position} is a {kind!r:.60}, which bmc does not build "
                "there; it builds a Transformer, then Pooling, then Dense, then Normalize"
            )
    if not is_pooled:
        raise ArtifactError(f"{root / MODULES} has no Pooling, so it gives no vector for a text")
    try:
        vectors.check(hidden)
    except ValueError as error:
        raise ArtifactError(f"{root}: its modules do not fit each other: {error}") from error
    prompts, default = _prompts(root)
    longest, lower_case = _reading(folder)
    return SentenceFolder(vectors, weights, longest, prompts, default, prompt_is_pooled, lower_case)


def _modules(root: Path) -> list[tuple[str, Path]]:
    """Return the class name and the folder of each module, in order."""
    path = root / MODULES
    content = read_bytes(path, _WHAT, _MAX_BYTES, links=True)
    # The checks of `parse_json` are those of objects, and the file holds a list.
    entries = parse_json(b'{"modules": ' + content + b"}", path)["modules"]
    if not isinstance(entries, list) or not 1 <= len(entries) <= _MAX_MODULES:
        raise ArtifactError(f"{path} must list 1 to {_MAX_MODULES} modules")
    modules = []
    for entry in entries:
        names = entry if isinstance(entry, dict) else {}
        kind, place = names.get("type"), names.get("path", "")
        if not isinstance(kind, str) or not isinstance(place, str):
            raise ArtifactError(f"{path}: a module is {entry!r:.80}; it needs a type and a path")
        if PurePosixPath(place).is_absolute() or ".." in PurePosixPath(place).parts:
            raise ArtifactError(f"{path}: a module's path is {place!r:.60}, outside of the folder")
        modules.append((kind.rpartition(".")[2], root / place))
    return modules


def _pooling(config: Mapping[str, Any], folder: Path) -> tuple[str, ...]:
    """Return the poolings of a config.json, which names them or has a switch for each."""
    named = config.get("pooling_mode")
    if named is None:
        modes = [mode for key, mode in _MODES.items() if config.get(key)]
    else:
        modes = [named] if isinstance(named, str) else list(named)
    unknown = [mode for mode in modes if mode not in ("cls", "max", "mean")]
    if unknown or not modes:
        chosen = ", ".join(map(str, unknown)) or "none"
        raise ArtifactError(
            f"{folder / 'config.json'}: the pooling is {chosen:.60}; bmc builds cls, max and mean"
        )
    return tuple(mode for mode in ("cls", "max", "mean") if mode in modes)


def _dense(folder: Path) -> tuple[DenseSettings, dict[str, Tensor]]:
    """Return a linear layer's settings and its weights."""
    path = folder / "config.json"
    config = read_json(path, _WHAT, links=True)
    activation = str(config.get("activation_function", "Tanh")).rpartition(".")[2].lower()
    if activation not in ACTIVATIONS:
        raise ArtifactError(
            f"{path}: the activation is {activation!r:.60}; bmc builds {', '.join(ACTIVATIONS)}"
        )
    weights = weights_of(folder)
    names = {name.removeprefix("linear."): name for name in weights.shapes}
    sizes = config.get("out_features"), config.get("in_features")
    if "weight" not in names or weights.shapes[names["weight"]] != sizes:
        raise ArtifactError(f"{folder}: its weights do not fit its config.json")
    tensors: dict[str, Tensor] = {
        name: weights.read(names[name]) for name in ("weight", "bias") if name in names
    }
    layer = DenseSettings(int(sizes[1]), int(sizes[0]), "bias" in tensors, activation)  # type: ignore[arg-type]
    return layer, tensors


def _prompts(root: Path) -> tuple[dict[str, str], str]:
    """Return the prompts by name, and the name of the default prompt, "" for none."""
    path = root / "config_sentence_transformers.json"
    if not path.is_file():
        return {}, ""
    config = read_json(path, _WHAT, links=True)
    prompts, default = config.get("prompts") or {}, config.get("default_prompt_name") or ""
    are_texts = isinstance(prompts, dict) and all(type(text) is str for text in prompts.values())
    if not are_texts or type(default) is not str:
        raise ArtifactError(f"{path}: prompts are {prompts!r:.60}; they are texts by name")
    return prompts, default


def _reading(folder: Path) -> tuple[int | None, bool]:
    """Return the largest number of tokens, None for no limit, and whether texts are lower-cased.

    They stand in sentence_bert_config.json, in older folders in a file of another model's name.
    """
    path = next((folder / name for name in _SETTINGS if (folder / name).is_file()), None)
    if path is None:
        return None, False
    config = read_json(path, _WHAT, links=True)
    longest = config.get("max_seq_length")
    is_limit = type(longest) is int and longest > 0
    return (longest if is_limit else None), config.get("do_lower_case") is True
