"""Masked language modeling: which tokens are hidden, and what an encoder learns from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models
from torch import Tensor, nn

from bmc.contracts import families
from bmc.data import Dataset
from bmc.errors import UsageError
from bmc.model import AfterStep, Model
from bmc.training.batches import Rows
from bmc.training.epochs import Fitted
from bmc.training.masked_lm import MaskTokens, Networks, fit_masked
from bmc.training.settings import TrainingSettings
from tests.models import _encoders

Make = Callable[..., Model]
TABLE = "bert.embeddings.word_embeddings"


def tokens_of(model: Model) -> MaskTokens:
    encoder: Any = model.encoder
    return MaskTokens.of(encoder.tokenizer)


def fitted(
    model: Model,
    data: Dataset,
    folder: Path,
    epochs: int,
    after_step: AfterStep | None = None,
    table: str = TABLE,
) -> Fitted:
    view = families.network(model.family).view
    assert view is not None

    def hidden(inputs: Mapping[str, Tensor]) -> Tensor:
        return view(model.module, inputs).hidden[-1]

    settings = TrainingSettings(
        epochs=epochs,
        learning_rate=3e-3,
        precision="fp32",
        device="cpu",
        keep="last",
        checkpoint_every=2,
    )
    return fit_masked(
        model.module,
        table,
        hidden,
        tokens_of(model),
        Rows(data.train.rows, [], model.encoder),
        Rows(data.validation.rows, [], model.encoder),
        settings,
        folder,
        after_step=after_step,
    )


def test_15_percent_are_hidden_of_which_80_are_masked_and_10_are_random(make_model: Make) -> None:
    tokens = tokens_of(make_model())
    ids = torch.randint(2000, 30000, (400, 500))
    random = torch.Generator().manual_seed(0)
    read, chosen = tokens.hide(ids, torch.ones_like(ids), random)
    assert float(chosen.float().mean()) == pytest.approx(0.15, abs=0.003)
    masked, same = (read == tokens.mask)[chosen], (read == ids)[chosen]
    assert float(masked.float().mean()) == pytest.approx(0.8, abs=0.01)
    assert float(same.float().mean()) == pytest.approx(0.1, abs=0.01)
    assert torch.equal(read[~chosen], ids[~chosen])


def test_special_tokens_and_padding_are_never_hidden(make_model: Make, reviews: Dataset) -> None:
    model = make_model()
    tokens = tokens_of(model)
    batch = Rows(reviews.train.rows, [], model.encoder).batch(range(100))
    ids, is_token = batch.inputs["input_ids"], batch.inputs["attention_mask"].bool()
    chosen = torch.zeros_like(is_token)
    for _ in range(100):
        chosen |= tokens.hide(ids, is_token)[1]
    encoder: Any = model.encoder
    special = [encoder.tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]", "[PAD]")]
    allowed = is_token & ~torch.isin(ids, torch.tensor(special))
    assert torch.equal(chosen, allowed)


def test_a_tokenizer_without_a_mask_token_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no mask token .*leave --pretrain out"):
        MaskTokens.of(Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))


def test_the_output_weights_are_the_word_embedding(make_model: Make) -> None:
    module = make_model().module
    networks = Networks(module, TABLE, 32)
    words = module.get_parameter(f"{TABLE}.weight")
    own = sum(value.numel() for value in networks.parameters())
    encoder = sum(value.numel() for value in module.parameters())
    assert own - encoder == 32 * 32 + 32 + 2 * 32 + len(words)
    hidden = torch.randn(5, 32)
    before = networks.logits(hidden)
    with torch.no_grad():
        words[7] += 1
    changed = (networks.logits(hidden) != before).any(0)
    assert changed.nonzero().tolist() == [[7]]


@pytest.mark.parametrize("scale", [0.05, 1.0])
def test_logits_start_alike_however_large_the_embeddings_are(
    scale: float, make_model: Make
) -> None:
    module = make_model().module
    with torch.no_grad():
        nn.init.normal_(module.get_parameter(f"{TABLE}.weight"), std=scale)
    logits = Networks(module, TABLE, 32).logits(torch.randn(20, 32))
    assert float(logits.std()) == pytest.approx(1, rel=0.3)


def test_hidden_tokens_are_predicted_better_with_each_epoch(
    make_model: Make, reviews: Dataset, tmp_path: Path
) -> None:
    model = make_model()
    result = fitted(model, reviews, tmp_path, epochs=3)
    assert result.losses[2] < result.losses[1] < result.losses[0]
    assert result.history[-1] > 0.03


def test_a_stopped_run_ends_with_the_weights_of_one_that_was_not(
    make_model: Make, reviews: Dataset, tmp_path: Path
) -> None:
    whole, stopped = make_model(), make_model()
    fitted(whole, reviews, tmp_path / "whole", epochs=2)

    def stop(module: nn.Module, done: float) -> None:
        if done > 0.7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(stopped, reviews, tmp_path / "stopped", epochs=2, after_step=stop)
    again = make_model()
    fitted(again, reviews, tmp_path / "stopped", epochs=2)
    expected = whole.module.state_dict()
    for name, value in again.module.state_dict().items():
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize("family", ["albert", "electra"])
def test_hidden_states_may_be_wider_than_the_word_embedding(
    family: str, reviews: Dataset, tmp_path: Path
) -> None:
    model = _encoders.small(family)
    result = fitted(model, reviews, tmp_path, epochs=1, table=_encoders.described(family).words)
    assert 0 < result.losses[0] < 100
