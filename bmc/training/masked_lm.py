"""Masked language modeling: an encoder learns to predict tokens that are hidden from it.

Source: Devlin et al. 2019, "BERT", section 3.1 (which tokens are hidden, and how).
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu, linear

from bmc import processes
from bmc.errors import UsageError
from bmc.model import AfterStep
from bmc.training import batch_norms, checkpoint, collective
from bmc.training.batches import Rows
from bmc.training.device import autocast, device_of
from bmc.training.epochs import Epochs, Fitted
from bmc.training.memory import return_large_blocks
from bmc.training.optimizers import optimizer_of
from bmc.training.settings import TrainingSettings

MEASURE = "masked_accuracy"
SHARE = 0.15  # of the tokens are predicted
_MASKED, _RANDOM = 0.8, 0.1  # of these; the rest stay as they are
_MASK_NAMES = ("[MASK]", "<mask>")
_SCORING_BATCH = 64

Hidden = Callable[[Mapping[str, Tensor]], Tensor]
"""Function from a batch's inputs to the last hidden states, (rows, length, width)."""


@dataclass(frozen=True)
class MaskTokens:
    """The tokens of a tokenizer that masked language modeling treats in another way.

    Args:
        mask: id of the token that stands in the place of a hidden one.
        special: ids that are never hidden, int64.
        count: number of tokens; random ones lie below.
    """

    mask: int
    special: Tensor
    count: int

    @staticmethod
    def of(tokenizer: Tokenizer) -> MaskTokens:
        """Return the mask token and the special tokens of a tokenizer.

        Raises:
            UsageError: it has no mask token.
        """
        ids = [tokenizer.token_to_id(name) for name in _MASK_NAMES]
        known = [token_id for token_id in ids if token_id is not None]
        if not known:
            raise UsageError(
                f"the student's tokenizer has no mask token ({' or '.join(_MASK_NAMES)}), which "
                "masked language modeling needs: leave --pretrain out"
            )
        added = json.loads(tokenizer.to_str())["added_tokens"]
        special = {known[0], *(token["id"] for token in added if token["special"])}
        return MaskTokens(known[0], torch.tensor(sorted(special)), tokenizer.get_vocab_size())

    def hide(
        self, ids: Tensor, is_token: Tensor, random: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Hide some tokens: of these 80 % become the mask token, 10 % a random one.

        Args:
            ids: token ids, int64 (rows, length).
            is_token: which of them are no padding, (rows, length).
            random: source of the random numbers; torch's own if None.

        Returns:
            the ids that the encoder reads, and which tokens it must predict, bool (rows, length).
        """
        allowed = is_token.bool() & ~torch.isin(ids, self.special)
        chosen = allowed & (torch.rand(ids.shape, generator=random) < SHARE)
        draw = torch.rand(ids.shape, generator=random)
        words = torch.randint(self.count, ids.shape, generator=random)
        hidden = torch.where(chosen & (draw < _MASKED), self.mask, ids)
        is_random = chosen & (draw >= _MASKED) & (draw < _MASKED + _RANDOM)
        return torch.where(is_random, words, hidden), chosen


class Networks(nn.Module):
    """An encoder and the head that predicts tokens, whose output weights are the word embedding.

    Args:
        module: the network with the encoder.
        table: path of its word embedding.
        width: width of the hidden states, which may be larger than the embedding's.
    """

    def __init__(self, module: nn.Module, table: str, width: int) -> None:
        super().__init__()
        self.module = module
        self._table = f"{table}.weight"
        words = module.get_parameter(self._table)
        narrow = words.shape[1]
        self.dense = nn.Linear(width, narrow)
        self.norm = nn.LayerNorm(narrow)
        self.bias = nn.Parameter(torch.zeros(len(words)))
        with torch.no_grad():  # embeddings may be large: logits start with a deviation of 1
            self.norm.weight.div_(words.pow(2).mean().sqrt() * narrow**0.5)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits of all tokens, (tokens, vocabulary), for hidden states."""
        words = self.module.get_parameter(self._table)
        return linear(self.norm(gelu(self.dense(hidden))), words, self.bias)


def fit_masked(
    module: nn.Module,
    table: str,
    hidden: Hidden,
    tokens: MaskTokens,
    train: Rows,
    validation: Rows,
    settings: TrainingSettings,
    folder: Path,
    run: str = "",
    after_step: AfterStep | None = None,
) -> Fitted:
    """Train an encoder in place to predict hidden tokens; the head is dropped afterwards.

    The score of an epoch is the share of hidden tokens of the validation texts that are predicted.
    The weights of the last epoch are kept. A run that was stopped resumes from its checkpoint.

    Args:
        module: the network with the encoder.
        table: path of its word embedding.
        hidden: function that computes the last hidden states with the module's weights.
        tokens: mask token and special tokens.
        train: training texts.
        validation: texts to score on.
        settings: training settings.
        folder: folder of the checkpoint.
        run: everything else that the result depends on, as text.
        after_step: function to call with the module, as `loop.fit` does.

    Raises:
        DivergedError: the loss or its gradient became NaN or infinite.
    """
    return_large_blocks()
    width = _width(module, hidden, train)
    torch.manual_seed(settings.seed)
    networks = Networks(module, table, width).to(device_of(settings.device))
    epochs = _Masked(networks, hidden, tokens, train, validation, settings, folder, run)
    with batch_norms.of_whole_batches(networks):
        epochs.fit(module, after_step)
    module.to("cpu").eval()
    progress = epochs.progress
    history, losses = tuple(progress.history), tuple(progress.losses)
    return Fitted(progress.best_score, progress.best_epoch, history, MEASURE, losses)


@torch.no_grad()
def _width(module: nn.Module, hidden: Hidden, rows: Rows) -> int:
    """Return the width of the hidden states of a row."""
    device = next(module.parameters()).device
    module.eval()
    return hidden(rows.batch(array("q", [0])).to(device).inputs).shape[-1]


class _Masked(Epochs):
    """Epochs of masked language modeling."""

    score_name = "hidden tokens predicted"

    def __init__(
        self,
        networks: Networks,
        hidden: Hidden,
        tokens: MaskTokens,
        train: Rows,
        validation: Rows,
        settings: TrainingSettings,
        folder: Path,
        run: str,
    ) -> None:
        self._parameters = [value for _, value in checkpoint.trainable(networks)]
        optimizer = optimizer_of(self._parameters, settings)
        super().__init__(networks, networks.module, optimizer, train, settings, folder, run)
        self._pair, self._hidden, self._tokens = networks, hidden, tokens
        self._validation = validation
        self._device = device_of(settings.device)

    def start_epoch(self) -> None:
        self._networks.train()

    def learn(self, indices: array[int], step: int) -> float:
        inputs, ids, chosen = self._hide(self._train, indices)
        # A batch of a few short texts may have no token to predict: the sum is then 0.
        predicted, total, start = max(int(chosen.sum()), 1), torch.zeros(1), 0
        for part, _ in self._train.parts(indices, self._settings.accumulate):
            rows = slice(start, start + len(part))
            start = rows.stop
            of_part = {name: value[rows] for name, value in inputs.items()}
            with collective.own_randomness(self._settings.seed, step, part[0]):
                total += self._learn_part(of_part, ids[rows], chosen[rows], predicted)
        self.update(total[0], self._parameters, step)
        return float(total)

    def _learn_part(
        self, inputs: dict[str, Tensor], ids: Tensor, chosen: Tensor, predicted: int
    ) -> Tensor:
        """Add the gradients of some rows of a batch, and return their share of the loss (1).

        Args:
            inputs: inputs with hidden tokens, by name.
            ids: token ids (rows, length).
            chosen: which of them are hidden, bool (rows, length).
            predicted: number of hidden tokens of the whole batch.
        """
        own, is_divided = processes.share(len(ids)), processes.is_divided(len(ids))
        with batch_norms.divided(len(ids)):
            logits = self._logits(collective.own_share(inputs), chosen[own])
        labels = ids[own][chosen[own]].to(self._device)
        loss = cross_entropy(logits, labels, reduction="sum") / predicted
        # The mean over processes, which `update` takes of the gradients, is the sum over all rows.
        factor = processes.count() if is_divided else 1
        (factor * loss).backward()  # type: ignore[no-untyped-call]
        total = loss.detach().cpu().reshape(1)
        if is_divided:
            collective.sum_tensor(total)
        return total

    @torch.no_grad()
    def score(self) -> float:
        self._networks.eval()
        random = torch.Generator().manual_seed(0)  # the same tokens are hidden in every epoch
        right = total = 0
        for indices in self._validation.in_order(_SCORING_BATCH):
            inputs, ids, chosen = self._hide(self._validation, array("q", indices), random)
            labels = ids[chosen].to(self._device)
            right += int((self._logits(inputs, chosen).argmax(1) == labels).sum())
            total += len(labels)
        return right / max(total, 1)

    def _hide(
        self, rows: Rows, indices: array[int], random: torch.Generator | None = None
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Return a batch's inputs with hidden tokens, its ids (rows, length), and which are hidden.

        Ids and what is hidden, bool (rows, length), are on the CPU.
        """
        batch = rows.batch(indices)
        ids = batch.inputs["input_ids"]
        read, chosen = self._tokens.hide(ids, batch.inputs["attention_mask"], random)
        batch.inputs["input_ids"] = read
        return batch.to(self._device).inputs, ids, chosen

    def _logits(self, inputs: Mapping[str, Tensor], chosen: Tensor) -> Tensor:
        """Return float32 logits (hidden tokens, vocabulary) for a batch."""
        with autocast(self._settings.precision, self._device):
            logits = self._pair.logits(self._hidden(inputs)[chosen.to(self._device)])
        return logits.float()
