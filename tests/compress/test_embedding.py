"""Factorized embedding: the best table of its rank, used like one table, smaller in the file."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn

from bmc import artifact
from bmc.compress.share.embedding import FactorizedEmbedding
from bmc.compress.share.lowrank import LowRank
from bmc.data import Dataset
from bmc.errors import SettingError, UsageError
from bmc.inspect import importance
from bmc.model import AppliedStep, Model, Work
from bmc.models import bert, recurrent, transformer
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for
from tests._records import refusal_of
from tests.models import _bundles

TABLE = "bert.embeddings.word_embeddings"


@pytest.fixture
def work(reviews: Dataset, tmp_path: Path) -> Work:
    def never(reference: str) -> Model:
        raise AssertionError(f"{reference} was loaded")

    settings = TrainingSettings(epochs=1, precision="fp32", device="cpu")
    return work_for(reviews, (), settings, tmp_path, tmp_path, never, run="")


@pytest.fixture
def lively(make_lively: Callable[..., Model]) -> Model:
    return make_lively()


def outputs_of(model: Model) -> Tensor:
    with torch.inference_mode():
        return torch.cat(
            [model.module(**example).logits for example in bert.examples(model.module)]
        )


def lower_rank(model: Model, rank: int) -> Tensor:
    """Give the word table a low rank, and return it."""
    weight = model.module.get_parameter(f"{TABLE}.weight")
    generator = torch.Generator().manual_seed(3)
    low = torch.randn(weight.shape[0], rank, generator=generator) @ torch.randn(
        rank, weight.shape[1], generator=generator
    )
    with torch.no_grad():
        weight.copy_(low / rank**0.5)
    return weight.detach().clone()


def looked_up(model: Model) -> Tensor:
    """Return the vectors of all tokens."""
    words: Any = model.module.get_submodule(TABLE)
    with torch.inference_mode():
        return words(torch.arange(words.num_embeddings))  # type: ignore[no-any-return]


def test_an_embedding_of_low_rank_gives_the_same_outputs_with_fewer_parameters(
    lively: Model, work: Work
) -> None:
    lower_rank(lively, rank=5)
    before, size = outputs_of(lively), sum(p.numel() for p in lively.module.parameters())
    record = FactorizedEmbedding(energy=1.0, multiple=1).apply(lively, work)
    assert record == {"embedding": TABLE, "rank": 5}
    torch.testing.assert_close(outputs_of(lively), before, atol=1e-4, rtol=0)
    assert before.std() > 0.1
    saved = 30522 * 32 - 5 * (30522 + 32)
    assert sum(p.numel() for p in lively.module.parameters()) == size - saved


def test_no_embedding_of_its_rank_is_nearer(lively: Model, work: Work) -> None:
    weight = lively.module.get_parameter(f"{TABLE}.weight").detach().clone()
    FactorizedEmbedding(rank=8).apply(lively, work)
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    best = (left[:, :8] * values[:8]) @ right[:8]
    torch.testing.assert_close(looked_up(lively), best, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("multiple", "rank"), [(1, 11), (8, 16)])
def test_the_rank_is_the_least_that_keeps_the_energy_rounded_up(
    multiple: int, rank: int, lively: Model, work: Work
) -> None:
    weight = lively.module.get_parameter(f"{TABLE}.weight")
    values = torch.linspace(1.0, 0.1, 32)  # of which 11 keep 0.67 of the energy
    assert (values[:11] ** 2).sum() >= 0.67 * (values**2).sum() > (values[:10] ** 2).sum()
    with torch.no_grad():
        weight.copy_(torch.linalg.qr(weight).Q * values)
    record = FactorizedEmbedding(energy=0.67, multiple=multiple).apply(lively, work)
    assert record["rank"] == rank


def test_positions_and_types_stay_and_the_parts_name_the_narrow_embedding(
    lively: Model, work: Work
) -> None:
    before = bert.parts(lively.module).embeddings
    tables = [lively.module.get_submodule(name) for name in before[1:]]
    FactorizedEmbedding(rank=8).apply(lively, work)
    after = bert.parts(lively.module).embeddings
    assert after == (f"{TABLE}.0", *before[1:])
    assert [lively.module.get_submodule(name) for name in after[1:]] == tables
    assert lively.module.get_submodule(after[0]).padding_idx == 0


def test_an_embedding_that_would_not_get_smaller_is_not_factorized(
    lively: Model, work: Work
) -> None:
    before = outputs_of(lively)
    assert FactorizedEmbedding(energy=1.0).apply(lively, work) == {}
    assert torch.equal(outputs_of(lively), before)


def test_a_rank_that_saves_nothing_is_refused_with_the_greatest_that_does(
    lively: Model, work: Work
) -> None:
    with pytest.raises(SettingError, match=r"rank is 32.*a rank of 31 at most"):
        FactorizedEmbedding(rank=32).apply(lively, work)
    assert FactorizedEmbedding(rank=31).apply(lively, work)


def test_a_factorized_embedding_can_be_factorized_to_a_lower_rank(
    lively: Model, work: Work, tmp_path: Path
) -> None:
    weight = lively.module.get_parameter(f"{TABLE}.weight").detach().clone()
    for rank in (16, 8):
        step = FactorizedEmbedding(rank=rank)
        record = step.apply(lively, work)
        lively.steps.append(AppliedStep("share/embedding", {}, record, 0, 0.0))
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    torch.testing.assert_close(
        looked_up(lively), (left[:, :8] * values[:8]) @ right[:8], atol=1e-3, rtol=0
    )
    assert FactorizedEmbedding(energy=1.0).apply(lively, work) == {}
    loaded = _bundles.saved(lively, tmp_path / "twice")
    assert loaded.module.get_parameter(f"{TABLE}.0.weight").shape == (30522, 8)


def test_families_with_an_embedding_of_their_own_are_factorized(
    work: Work, reviews: Dataset
) -> None:
    created = [
        transformer.baseline("transformer", reviews, transformer.Settings(hidden=16)),
        recurrent.baseline("lstm", reviews, recurrent.Settings(hidden=8, embedding=16)),
    ]
    for model in created:
        assert FactorizedEmbedding(rank=4).apply(model, work)["embedding"] == "embedding.words"
        score = work.fit(model, name=model.family)["validation_accuracy"]
        assert 0 <= score <= 1


def test_fine_tuning_trains_both_factors_and_not_the_padding(lively: Model, work: Work) -> None:
    FactorizedEmbedding(rank=8).apply(lively, work)
    names = [f"{TABLE}.0.weight", f"{TABLE}.1.weight"]
    before = [lively.module.get_parameter(name).detach().clone() for name in names]
    lively.module.train()
    inputs = bert.examples(lively.module)[0]
    inputs["input_ids"][:, -1] = 0
    bert.training_form(lively.module)(inputs).sum().backward()  # type: ignore[no-untyped-call]
    table, linear = (lively.module.get_parameter(name).grad for name in names)
    assert table is not None
    assert linear is not None
    assert table[inputs["input_ids"][0, 0]].any()
    assert not table[0].any()
    assert linear.any()
    work.fit(lively)
    assert not any(map(torch.equal, map(lively.module.get_parameter, names), before))


def test_word_importance_goes_through_both_factors(
    lively: Model, work: Work, reviews: Dataset
) -> None:
    lower_rank(lively, rank=4)
    inputs = lively, reviews.test.rows, reviews.test.labels, [0, 1]
    before = importance.explain(*inputs)
    FactorizedEmbedding(rank=4).apply(lively, work)
    after = importance.explain(*inputs)
    for item, other in zip(before, after, strict=True):
        assert item.words is not None
        assert other.words is not None
        assert dict(other.words) == pytest.approx(dict(item.words), abs=1e-3)


def test_the_exported_file_has_both_factors_and_not_their_product(
    make_lively: Callable[..., Model], work: Work, reviews: Dataset, tmp_path: Path
) -> None:
    lively = make_lively(layers=1)
    lively.data = {"reference": reviews.name, "fingerprint": reviews.fingerprint}
    record = FactorizedEmbedding(rank=8).apply(lively, work)
    lively.steps = [AppliedStep("share/embedding", {"rank": 8}, record, 0, 0.0)]
    folder = artifact.save(lively, tmp_path / "model")
    bundle = _bundles.exported(folder, reviews, "onnx", tmp_path / "bundle")
    graph = onnx.load(bundle.path / "model.onnx").graph
    large = [list(value.dims) for value in graph.initializer if 30522 in value.dims]
    assert large == [[30522, 8]]
    assert "Gather" in [node.op_type for node in graph.node]


def test_a_second_factor_that_another_step_changed_is_refused(lively: Model, work: Work) -> None:
    FactorizedEmbedding(rank=16).apply(lively, work)
    with torch.no_grad():
        lively.module.get_parameter(f"{TABLE}.1.weight")[:, 4:] = 0
    assert LowRank(energy=1.0, multiple=1, layers=(f"{TABLE}.1",)).apply(lively, work)
    with pytest.raises(
        UsageError, match="second factor of the word embedding was changed by another step"
    ):
        FactorizedEmbedding(rank=8).apply(lively, work)


def test_a_model_without_a_word_embedding_layer_is_refused(work: Work, lively: Model) -> None:
    words = lively.module.get_submodule(TABLE)
    lively.module.set_submodule(TABLE, _Wrapped(words))
    with pytest.raises(UsageError, match="no plain table of words"):
        FactorizedEmbedding(rank=8).apply(lively, work)


class _Wrapped(nn.Module):
    """A table that is no `nn.Embedding` any more."""

    def __init__(self, table: Any) -> None:
        super().__init__()
        self.weight, self.num_embeddings = table.weight, table.num_embeddings

    def forward(self, ids: Tensor) -> Tensor:
        return self.weight[ids]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": -1}, "rank is -1"),
        ({"energy": 0.0}, r"energy is 0\.0"),
        ({"energy": float("nan")}, "energy is nan"),
        ({"energy": 1.1}, r"energy is 1\.1"),
        ({"multiple": 0}, "multiple is 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        FactorizedEmbedding(**settings)


@pytest.mark.parametrize(
    "wrong",
    [
        {"embedding": "bert.pooler.dense"},
        {"embedding": "bert.embeddings.nothing"},
        {"embedding": 5},
        {"embedding": ""},
        {"rank": 0},
        {"rank": 32},
        {"rank": True},
        {"rank": 8.0},
    ],
)
def test_a_record_that_does_not_fit_is_refused(
    wrong: dict[str, Any], lively: Model, tmp_path: Path
) -> None:
    record = {"embedding": TABLE, "rank": 8, **wrong}
    message = refusal_of(lively, "share/embedding", record, tmp_path)
    assert re.search(
        r"is not a word embedding|must lie in 1\.\.31|share/embedding does not fit", message
    )
