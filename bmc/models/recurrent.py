"""Bidirectional recurrent networks over tokens, series or sound: plain RNN, LSTM and GRU.

Padding does not change the outputs of a row, in any target: both directions are layers that read
forward, and the second layer reads the row reversed within its length. (With packed sequences,
OpenVINO computes wrong outputs.) Batch size and sequence length stay dynamic.

Source: Schuster and Paliwal 1997, "Bidirectional Recurrent Neural Networks"; Hochreiter and
Schmidhuber 1997, "Long Short-Term Memory"; Cho et al. 2014, "Learning Phrase Representations using
RNN Encoder-Decoder" (GRU).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bmc.contracts import Network
from bmc.data import Dataset
from bmc.errors import SettingError
from bmc.families.recurrent import READOUTS as READOUTS
from bmc.families.recurrent import Settings as Settings
from bmc.inference.operators import RecurrentOperator
from bmc.inputs.series import encoder_for as series_encoder_for
from bmc.model import Model, Parts
from bmc.models import log_mel, tokens, word_vectors
from bmc.models._sizes import sizes_checked


def baseline(reference: str, data: Dataset, settings: Settings) -> Model:
    """Build an untrained network for a data set; for texts, a tokenizer is trained."""
    spec: dict[str, Any] = {
        "model_type": "recurrent",
        "cell": reference,
        "input": data.kind,
        "hidden": settings.hidden,
        "layers": settings.layers,
        "dropout": settings.dropout,
        "readout": settings.readout,
        "outputs": max(len(data.labels), 1),
    }
    encoder: Any
    table: Tensor | None = None
    if data.kind in ("text", "words"):
        encoder, table = word_vectors.encoder_for(data, settings)
        spec |= word_vectors.sizes(encoder, table, settings)
    elif data.kind == "audio":
        _refuse_vectors(settings, data)
        encoder = log_mel.encoder_for(settings)
        spec |= log_mel.spec_of(encoder, settings)
    else:
        _refuse_vectors(settings, data)
        encoder = series_encoder_for(data.train.rows, settings.max_length)
        spec["channels"] = encoder.settings.channels
        spec["noise"] = settings.noise
    module: Any = build(spec)
    if table is not None:
        word_vectors.fill(module.embedding, table)
    if data.kind == "audio":
        log_mel.standardize(module.log_mel, data, encoder)
    return Model(module, "recurrent", spec, data.labels, encoder, data.task)


def _refuse_vectors(settings: Settings, data: Dataset) -> None:
    """Refuse word vectors for data without words."""
    if settings.vectors:
        raise SettingError(
            f"vectors is {settings.vectors}, and {data.name!r} holds {data.kind}, which has no "
            "words: leave vectors out"
        )


def build(spec: Mapping[str, Any]) -> nn.Module:
    """Build an untrained network.

    Raises:
        ArtifactError: the spec is malformed or inconsistent.
    """
    with sizes_checked(spec):
        kind = {
            **{"text": OverTokens, "words": OverTokens},
            **{"series": OverSeries, "audio": OverSound},
        }[spec["input"]]
        return kind(spec).eval()


def examples(module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return two inputs of different shapes, for tracing and checks."""
    shapes = (2, 12), (3, 7)
    if isinstance(module, OverTokens):
        words = module.embedding.words.num_embeddings
        columns = 1 if module.embedding.types is None else 2
        first, second = tokens.token_examples(words, shapes, columns)
        return first, second
    if isinstance(module, OverSound):
        return log_mel.examples(module)
    generator = torch.Generator().manual_seed(0)

    def example(rows: int, length: int) -> dict[str, Tensor]:
        series = torch.randn(rows, length, int(module.channels), generator=generator)  # type: ignore[arg-type]
        lengths = torch.tensor([length // 2, *([length] * (rows - 1))])
        return {"series": series, "lengths": lengths}

    return example(*shapes[0]), example(*shapes[1])


def inference_form(model: Model) -> nn.Module:
    """Return the module to export, in which each recurrent layer is one ONNX operator."""
    form = copy.deepcopy(model.module)
    operators: dict[int, RecurrentOperator] = {}
    for layer in [part for part in form.modules() if isinstance(part, _BothWays)]:
        for name, inner in list(layer.named_children()):
            if isinstance(inner, nn.RNNBase):
                operator = operators.setdefault(id(inner), RecurrentOperator(inner))
                setattr(layer, name, operator)
    return form


def parts(module: nn.Module) -> Parts:
    """Return the paths of the layers, embeddings and output layer."""
    every = module.named_modules(remove_duplicate=False)
    layers = [name for name, part in every if isinstance(part, _BothWays)]
    tables = [name for name, part in module.named_modules() if isinstance(part, nn.Embedding)]
    return Parts(tuple(layers), {}, tuple(tables), ("classifier",))


class _Recurrent(nn.Module):
    """Layers, readout and classifier, over vectors of tokens or series."""

    def __init__(self, spec: Mapping[str, Any], width: int) -> None:
        super().__init__()
        hidden, cell = int(spec["hidden"]), _CELLS[spec["cell"]]
        widths = [width] + [2 * hidden] * (int(spec["layers"]) - 1)
        self.layers = nn.ModuleList(_BothWays(cell, input_size, hidden) for input_size in widths)
        self.dropout = nn.Dropout(float(spec["dropout"]))
        self.by_token = spec["input"] == "words"
        self.only_last = READOUTS.index(spec["readout"]) == READOUTS.index("last")
        self.classifier = nn.Linear(2 * hidden, int(spec["outputs"]))

    def answers(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Return outputs (rows, classes) of vectors (rows, length, width), int64 lengths (rows).

        Where words have tags, outputs are those of each step, (rows, length, classes).
        """
        steps = torch.arange(vectors.shape[1], device=vectors.device)
        # The step of the row that each step of the reversed row copies; steps after the end of a
        # row copy step 0, and are not read.
        reversal = (lengths[:, None] - 1 - steps).clamp(min=0)
        states = vectors
        for number, layer in enumerate(self.layers):
            ahead, back = layer(self.dropout(states) if number else states, reversal)
            states = torch.cat([ahead, _gather_steps(back, reversal)], dim=2)
        if self.by_token:
            outputs: Tensor = self.classifier(self.dropout(states).flatten(0, 1))
            return outputs.view(*states.shape[:2], outputs.shape[-1])
        if self.only_last:
            final = torch.cat(
                [_gather_steps(part, lengths[:, None] - 1) for part in (ahead, back)], dim=2
            )
            pooled = final.squeeze(1)
        else:
            inside = (steps < lengths[:, None]).to(states.dtype)
            pooled = (states * inside[:, :, None]).sum(dim=1) / inside.sum(dim=1, keepdim=True)
        return self.classifier(self.dropout(pooled))  # type: ignore[no-any-return]


class OverTokens(_Recurrent):
    """A recurrent network over token ids."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        width = int(spec["embedding"])
        super().__init__(spec, width)
        self.embedding = tokens.TokenEmbedding(int(spec["vocabulary"]), width, int(spec["columns"]))

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Return outputs (rows, classes) for int64 ids, mask and types (rows, length).

        A row ends at its last unmasked token; a masked token before the end is a zero vector.
        """
        steps = torch.arange(1, input_ids.shape[1] + 1, device=input_ids.device)
        lengths = (attention_mask * steps).amax(dim=1)
        vectors = self.embedding(input_ids, token_type_ids)
        return self.answers(self.dropout(vectors * attention_mask[:, :, None]), lengths)


class OverSeries(_Recurrent):
    """A recurrent network over normalized series."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        super().__init__(spec, int(spec["channels"]))
        self.channels = int(spec["channels"])
        self.noise = float(spec["noise"])

    def forward(self, series: Tensor, lengths: Tensor) -> Tensor:
        """Return outputs (rows, classes) for series (rows, length, channels), int64 lengths."""
        if self.training and self.noise:
            series = series + self.noise * torch.randn_like(series)
        return self.answers(series, lengths)


class OverSound(_Recurrent):
    """A recurrent network over the log-mel energies of clips."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        samples, mels, max_frequency = log_mel.sizes_of(spec)
        super().__init__(spec, mels)
        self.samples = samples
        self.log_mel = log_mel.LogMel(mels, max_frequency)

    def forward(self, samples: Tensor) -> Tensor:
        """Return outputs (rows, classes) for samples (rows, samples) in -1..1."""
        energies = self.log_mel(samples)
        rows, frames, _ = energies.shape
        lengths = torch.full((rows,), frames, dtype=torch.int64, device=samples.device)
        return self.answers(energies, lengths)


class _BothWays(nn.Module):
    """Two layers that read forward: the first reads the row, the second the reversed row."""

    def __init__(self, cell: Any, width: int, hidden: int) -> None:
        super().__init__()
        self.ahead = cell(width, hidden, batch_first=True)
        self.back = cell(width, hidden, batch_first=True)

    def forward(self, vectors: Tensor, reversal: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states (rows, length, hidden) of both layers; the second are reversed."""
        return self.ahead(vectors)[0], self.back(_gather_steps(vectors, reversal))[0]


_CELLS: Mapping[str, Any] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def _gather_steps(vectors: Tensor, steps: Tensor) -> Tensor:
    """Return each row's vectors (rows, length, width) at int64 steps (rows, count)."""
    return vectors.gather(1, steps[:, :, None].expand(-1, -1, vectors.shape[2]))


NETWORK = Network(
    baseline=baseline,
    build=build,
    examples=examples,
    parts=parts,
    inference_form=inference_form,
)
