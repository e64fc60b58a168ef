"""Hashed n-grams: the sum of an embedding for each n-gram of a text, and one linear layer.

Source: Joulin et al. 2017, "Bag of Tricks for Efficient Text Classification".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from bmc.contracts import Network
from bmc.contracts.tasks import EMBEDDING
from bmc.data import Dataset
from bmc.families.ngram import Settings as Settings
from bmc.inputs.ngram import NgramEncoder, NgramSettings
from bmc.model import Model, Parts
from bmc.models._sizes import sizes_checked
from bmc.models.sentences import KEY

_MOST_WIDTH_BY_ITSELF = 16
_VECTOR_WIDTH = 64  # of an embedding where outputs are vectors; the table is most of the file


class NgramClassifier(nn.Module):
    """Embeddings of buckets, summed by weight, and a linear layer.

    Args:
        buckets: rows of the embedding.
        width: number of values in an embedding.
        outputs: classes, or 1 in a regression.
    """

    def __init__(self, buckets: int, width: int, outputs: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(buckets, width)
        self.output = nn.Linear(width, outputs)

    def forward(self, input_ids: Tensor, weights: Tensor) -> Tensor:
        """Return outputs (rows, outputs) for int64 buckets and float weights (rows, n-grams)."""
        vectors = self.embedding(input_ids)
        summed = (vectors * weights[:, :, None]).sum(dim=1)
        outputs: Tensor = self.output(summed)
        return outputs


class NgramVectors(NgramClassifier):
    """Embeddings of buckets, summed by weight, a linear layer, and a scaling to length 1."""

    def forward(self, input_ids: Tensor, weights: Tensor) -> Tensor:
        """Return vectors (rows, outputs) for int64 buckets and float weights (rows, n-grams)."""
        return normalize(super().forward(input_ids, weights), dim=1)


def baseline(reference: str, data: Dataset, settings: Settings) -> Model:
    """Build an untrained classifier for the texts and classes of a data set."""
    return _built(data, settings, max(len(data.labels), 1))


def _built(data: Dataset, settings: Settings, outputs: int, is_vector: bool = False) -> Model:
    """Build an untrained network with a number of outputs, which may be a vector's."""
    encoder = NgramEncoder(
        NgramSettings(
            settings.buckets,
            settings.words,
            settings.characters,
            settings.max_length,
            columns=len(data.columns),
            lowercase=settings.lowercase,
        )
    )
    most = _VECTOR_WIDTH if is_vector else _MOST_WIDTH_BY_ITSELF
    spec: dict[str, Any] = {
        "model_type": "ngram",
        "buckets": settings.buckets,
        "embedding": settings.width or min(max(outputs - 1, 1), most),
        "outputs": outputs,
        **({KEY: {"width": outputs}} if is_vector else {}),
    }
    module = build(spec)
    _start(module)
    if is_vector:
        _start_vectors(module)
    return Model(module, "ngram", spec, data.labels, encoder, data.task)


def student(teacher: Model, settings: Settings, data: Dataset) -> Model:
    """Build an untrained student; it uses its own n-grams and no tokens of the teacher."""
    if data.task == EMBEDDING:
        return of_vectors(data, settings, int(teacher.outputs()[0].shape[1]))
    return baseline("ngram", data, settings)


def of_vectors(data: Dataset, settings: Settings, width: int) -> Model:
    """Build an untrained network that makes vectors (width) of the texts of a data set."""
    return _built(data, settings, width, is_vector=True)


def build(spec: Mapping[str, Any]) -> nn.Module:
    """Build an untrained classifier.

    Raises:
        ArtifactError: the settings do not fit together.
    """
    with sizes_checked(spec):
        network = NgramVectors if KEY in spec else NgramClassifier
        return network(spec["buckets"], spec["embedding"], spec["outputs"]).eval()


def examples(module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return two inputs of different shapes, for tracing and for checking."""
    table: Any = module.get_submodule("embedding")
    generator = torch.Generator().manual_seed(0)

    def example(rows: int, length: int) -> dict[str, Tensor]:
        ids = torch.randint(table.num_embeddings, (rows, length), generator=generator)
        weights = torch.full((rows, length), length**-0.5)
        weights[0, length // 2 :] = 0
        return {"input_ids": ids, "weights": weights}

    return example(2, 12), example(3, 7)


def parts(module: nn.Module) -> Parts:
    """Return the paths of the embedding and of the output layer; no layer is between them."""
    return Parts((), {}, ("embedding",), ("output",))


@torch.no_grad()
def _start(module: Any) -> None:
    """Set embeddings to zero, and the linear layer to a basis that separates the classes.

    An n-gram that was rarely trained then contributes nothing, and no class is preferred.
    """
    module.embedding.weight.zero_()
    module.output.bias.zero_()
    weight = module.output.weight  # (outputs, width)
    if len(weight) == 1:
        weight.fill_(weight.shape[1] ** -0.5)
        return
    if weight.shape[1] < len(weight):
        directions = torch.randn(weight.shape)
        weight.copy_(torch.linalg.qr(directions - directions.mean(dim=0)).Q)
    else:
        nn.init.orthogonal_(weight)


@torch.no_grad()
def _start_vectors(module: Any) -> None:
    """Draw the embeddings: a vector of zeros has no direction, and its scaling no gradient."""
    width = module.embedding.weight.shape[1]
    module.embedding.weight.normal_(std=width**-0.5)


NETWORK = Network(
    baseline=baseline,
    build=build,
    examples=examples,
    parts=parts,
    student=student,
)
