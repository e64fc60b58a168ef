"""Families of encoders that transformers builds: a description gives bmc what it needs.

A family says where the parts of its network are, and which form of it is exported. Everything else
is the same in all: loading a folder, examples, and what distillation compares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from bmc.contracts import Network
from bmc.contracts.signals import View
from bmc.contracts.tasks import TOKENS
from bmc.data import Dataset
from bmc.families.distilbert import Settings as EncoderOptions
from bmc.inputs.text import TextSettings
from bmc.model import Model, Parts
from bmc.models import hugging_face
from bmc.models._encoder_form import tags_words
from bmc.models._encoder_parts import INSIDE, LAYERS, encoder_parts
from bmc.models._encoder_view import view as encoder_view
from bmc.models.tokens import token_examples

SHAPES = (2, 12), (3, 7)
BERT_PROJECTIONS = tuple(f"attention.self.{name}" for name in ("query", "key", "value"))
Form = Callable[[Any, bool, int], nn.Module]


@dataclass(frozen=True)
class Encoder:
    """The network of a family of encoders.

    Args:
        kind: classes of transformers for texts, and names in folders.
        tagger: class of transformers with a head for each token.
        words: path of the table of words.
        attention: path in a layer of the module that computes the heads, and returns the
            attention's probabilities second.
        projections: paths in a layer of the projections to queries, keys and values; or the path of
            the one that computes all three.
        form: function that returns the inference form of a module, given whether token types are an
            input and the largest number of tokens of a row; None where the module is exported.
        layers: pattern of the paths of the layers.
        inside: names, inside each layer, of the attention module and its norm, and of all others.
        has_heads: whether heads can be pruned.
        norm: path of a norm after the last layer; "" for none.
    """

    kind: hugging_face.Architecture
    tagger: Any
    words: str
    attention: str
    projections: tuple[str, ...]
    form: Form | None = None
    layers: str = LAYERS
    inside: tuple[tuple[str, ...], tuple[str, ...]] = INSIDE
    has_heads: bool = True
    norm: str = ""

    def kind_of(self, task: str | None) -> hugging_face.Architecture:
        """Return the classes and names of a task's models; those of texts when None."""
        return hugging_face.tagger_of(self.kind, self.tagger) if task == TOKENS else self.kind

    def build(self, spec: Mapping[str, Any]) -> nn.Module:
        """Build an untrained classifier of texts or of words; see `hugging_face.build`."""
        tagger = self.kind_of(TOKENS)
        return hugging_face.build(spec, tagger if tagger.is_named_in(spec) else self.kind)

    def baseline(self, reference: str, data: Dataset, settings: EncoderOptions) -> Model:
        """Load a folder's weights for the classes of a data set; see `hugging_face.pretrained`."""
        text = TextSettings(settings.max_length, columns=max(len(data.columns), 1))
        kind = self.kind_of(data.task)
        return hugging_face.pretrained(
            reference, reference, data.labels, text, kind, data.task, settings.prompt
        )

    def examples(self, module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return two inputs of different shapes, for tracing and checks."""
        words: Any = module.get_submodule(self.words)
        built: Any = module
        smallest = self.kind.first_position(built.config.pad_token_id)  # no padding's id
        first, second = token_examples(words.num_embeddings, SHAPES, first=smallest)
        return first, second

    def parts(self, module: nn.Module) -> Parts:
        """Return the paths of the layers, heads, embeddings and output layer."""
        attention = self.attention if self.has_heads else ""
        output = self.kind_of(TOKENS if tags_words(module) else None).output
        return encoder_parts(module, attention, output, self.layers, self.inside)

    def inference_form(self, model: Model) -> nn.Module:
        """Return the module to export: the same outputs in fewer, larger operations."""
        names = [info.name for info in model.encoder.tensors()]
        longest = model.encoder.longest()["sequence"]
        if self.form is None:
            return model.module
        return self.form(model.module, "token_type_ids" in names, longest)

    def view(self, module: nn.Module, inputs: Mapping[str, Tensor]) -> View:
        """Return what signals of distillation compare."""
        layers = self.parts(module).layers
        paths = self.attention, self.projections, self.norm
        return encoder_view(module, inputs, layers, *paths)

    def network(self) -> Network:
        """Return the functions of the family."""
        return Network(
            baseline=self.baseline,
            build=self.build,
            examples=self.examples,
            parts=self.parts,
            inference_form=self.inference_form if self.form else None,
            view=self.view,
        )
