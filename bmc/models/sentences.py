"""Encoders of sentences: an encoder of transformers, and a head that makes one vector of a text.

Source: Reimers and Gurevych 2019, "Sentence-BERT" (pooling of the tokens' vectors).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from bmc.errors import ArtifactError
from bmc.inference.attention import MASKED

KEY = "vector"
"""Entry of a model's spec that describes how a vector is made of the tokens' vectors."""
POOLINGS = ("cls", "max", "mean")
"""Poolings in the order in which their vectors are concatenated."""
ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "sigmoid": nn.Sigmoid,
}
_MAX_WIDTH = 65_536
_MAX_LAYERS = 8


@dataclass(frozen=True)
class DenseSettings:
    """A linear layer after the pooling.

    Args:
        inputs: numbers that it reads.
        outputs: numbers that it returns.
        bias: whether it has a bias.
        activation: name of the activation after it, a key of `ACTIVATIONS`.
    """

    inputs: int
    outputs: int
    bias: bool = True
    activation: str = "tanh"


@dataclass(frozen=True)
class VectorSettings:
    """How a vector is made of the vectors of a text's tokens.

    Args:
        width: numbers in a vector.
        pooling: names of poolings, of `POOLINGS`; the vectors of several are concatenated.
        dense: linear layers after the pooling, in order.
        normalize: whether vectors are scaled to length 1.
    """

    width: int
    pooling: tuple[str, ...] = ("mean",)
    dense: tuple[DenseSettings, ...] = ()
    normalize: bool = False

    @staticmethod
    def of(spec: Mapping[str, Any], hidden: int) -> VectorSettings:
        """Read the entry of a model's spec.

        Args:
            spec: content of config.json.
            hidden: width of the tokens' vectors.

        Raises:
            ArtifactError: the entry is malformed, or its sizes do not fit each other.
        """
        try:
            entry = spec[KEY]
            dense = tuple(DenseSettings(**layer) for layer in entry["dense"])
            settings = VectorSettings(
                entry["width"], tuple(entry["pooling"]), dense, entry["normalize"]
            )
            settings.check(hidden)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"config.json: {KEY} is {spec.get(KEY)!r:.80} ({error})") from error
        return settings

    def check(self, hidden: int) -> None:
        """Check that the sizes fit each other.

        Raises:
            ValueError: they do not.
        """
        if not self.pooling or not set(self.pooling) <= set(POOLINGS):
            raise ValueError(f"pooling is {self.pooling}; possible: {', '.join(POOLINGS)}")
        if len(self.dense) > _MAX_LAYERS:
            raise ValueError(f"{len(self.dense)} dense layers; {_MAX_LAYERS} are possible")
        width = hidden * len(self.pooling)
        for layer in self.dense:
            sizes = (layer.inputs, layer.outputs)
            if not all(type(size) is int and 1 <= size <= _MAX_WIDTH for size in sizes):
                raise ValueError(f"a dense layer has the sizes {sizes}")
            if layer.inputs != width:
                raise ValueError(f"a dense layer reads {layer.inputs} numbers, of {width}")
            if layer.activation not in ACTIVATIONS:
                raise ValueError(f"a dense layer has the activation {layer.activation!r:.40}")
            width = layer.outputs
        if self.width != width or type(self.normalize) is not bool:
            raise ValueError(f"the vectors have {width} numbers")

    def resized(self, hidden: int) -> VectorSettings:
        """Return the settings of a student of another width, without dense layers."""
        return replace(self, width=hidden * len(self.pooling), dense=())

    def to_json(self) -> dict[str, Any]:
        """Return the entry of a model's spec."""
        return {**asdict(self), "pooling": list(self.pooling)}


class VectorHead(nn.Module):
    """Pooling, linear layers and normalization.

    Args:
        settings: how a vector is made.
    """

    def __init__(self, settings: VectorSettings) -> None:
        super().__init__()
        self.pooling = tuple(name for name in POOLINGS if name in settings.pooling)
        self.dense = nn.ModuleList(
            nn.Linear(layer.inputs, layer.outputs, layer.bias) for layer in settings.dense
        )
        self.activations = nn.ModuleList(
            ACTIVATIONS[layer.activation]() for layer in settings.dense
        )
        self.normalize = settings.normalize

    def forward(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """Return vectors (rows, width) of tokens' vectors (rows, length, hidden) and their mask."""
        is_token = attention_mask[:, :, None].to(hidden.dtype)
        parts = []
        for name in self.pooling:
            if name == "cls":
                parts.append(hidden[:, 0])
            elif name == "max":
                parts.append((hidden + (1.0 - is_token) * MASKED).amax(dim=1))
            else:
                parts.append((hidden * is_token).sum(dim=1) / is_token.sum(dim=1))
        vectors = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        for layer, activation in zip(self.dense, self.activations, strict=True):
            vectors = activation(layer(vectors))
        return normalize(vectors, dim=1) if self.normalize else vectors


class SentenceEncoder(nn.Module):
    """An encoder of transformers without its task's head, and a head that makes vectors.

    Args:
        encoder: the encoder, such as a BertModel.
        base: name of the attribute that holds the encoder, as in the family's classifiers.
        settings: how a vector is made.
    """

    def __init__(self, encoder: Any, base: str, settings: VectorSettings) -> None:
        super().__init__()
        if getattr(encoder, "pooler", None) is not None:
            encoder.pooler = None  # nothing reads it
        setattr(self, base, encoder)
        self.base = base
        self.head = VectorHead(settings)

    @property
    def encoder(self) -> Any:
        """The encoder."""
        return getattr(self, self.base)

    @property
    def config(self) -> Any:
        """The encoder's configuration."""
        return self.encoder.config

    def set_attn_implementation(self, name: str) -> None:
        """Choose how the encoder computes attention."""
        self.encoder.set_attn_implementation(name)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        **options: Any,
    ) -> Tensor:
        """Return vectors (rows, width) of int64 ids, mask and types (rows, length)."""
        if token_type_ids is not None:
            options["token_type_ids"] = token_type_ids
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **options)
        vectors: Tensor = self.head(states[0], attention_mask)
        return vectors


def makes_vectors(module: nn.Module) -> bool:
    """Tell whether a module is an encoder of sentences."""
    return isinstance(module, SentenceEncoder)


def output_paths(module: Any, layers: Sequence[str]) -> tuple[str, ...]:
    """Return the paths of the modules whose output width decides that of the vectors.

    Args:
        module: a `SentenceEncoder`.
        layers: paths of its layers, in order.
    """
    if len(module.head.dense):
        return (f"head.dense.{len(module.head.dense) - 1}",)
    last = module.get_submodule(layers[-1])
    linears = [name for name, part in last.named_modules() if isinstance(part, nn.Linear)]
    return (f"{layers[-1]}.{linears[-1]}",)


def resized(spec: Mapping[str, Any], teacher_hidden: int, hidden: int) -> dict[str, Any]:
    """Return the entry of a student's spec, as its teacher has it; nothing for other tasks.

    Args:
        spec: the teacher's spec.
        teacher_hidden: width of the teacher's tokens' vectors.
        hidden: width of the student's.
    """
    if KEY not in spec:
        return {}
    return {KEY: VectorSettings.of(spec, teacher_hidden).resized(hidden).to_json()}
