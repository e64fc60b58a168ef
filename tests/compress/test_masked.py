"""Masked: an encoder is pretrained on a task's texts once, and kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bmc import data as datasets
from bmc.compress.distill.masked import Masked
from bmc.data import Dataset
from bmc.errors import SettingError, UsageError
from bmc.model import Model, Work
from bmc.models import cnn, transformer
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for

Make = Callable[..., Model]


@pytest.fixture
def work(reviews: Dataset, tmp_path: Path) -> Work:
    def never(reference: str) -> Model:
        raise AssertionError(f"{reference} was loaded")

    settings = TrainingSettings(epochs=1, precision="fp32", device="cpu")
    return work_for(reviews, ("a fine film",), settings, tmp_path, tmp_path, never, run="")


def weights(model: Model) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.module.state_dict().items()}


def test_the_encoder_changes_and_the_classifier_stays(make_model: Make, work: Work) -> None:
    model = make_model()
    before = weights(model)
    assert Masked().apply(model, work) == {}
    after = weights(model)
    assert after.keys() == before.keys()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert "bert.embeddings.word_embeddings.weight" in changed
    assert not any(name.startswith(("classifier", "bert.pooler")) for name in changed)


def test_the_same_start_and_texts_are_trained_once(
    make_model: Make, work: Work, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = make_model(), make_model()
    Masked().apply(first, work)
    assert "hidden tokens predicted" in capsys.readouterr().err
    Masked().apply(second, work)
    said = capsys.readouterr().err
    assert "was pretrained on these texts before" in said
    assert "hidden tokens predicted" not in said
    expected = weights(first)
    assert all(torch.equal(value, expected[name]) for name, value in weights(second).items())


@pytest.mark.parametrize("what", ["texts", "weights", "settings"])
def test_another_start_is_trained_anew(
    what: str, make_model: Make, work: Work, capsys: pytest.CaptureFixture[str]
) -> None:
    Masked().apply(make_model(), work)
    model, step = make_model(), Masked()
    if what == "texts":
        work = replace(work, unlabeled=(("another text",),))
    elif what == "weights":
        with torch.no_grad():
            model.module.get_parameter("bert.pooler.dense.bias").add_(1)
    else:
        step = Masked(seed=1)
    capsys.readouterr()
    step.apply(model, work)
    assert "was pretrained" not in capsys.readouterr().err


def test_a_damaged_encoder_is_trained_again(
    make_model: Make, work: Work, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = make_model(), make_model()
    Masked().apply(first, work)
    (path,) = work.cache.glob("masked-*/encoder.safetensors")
    path.write_bytes(path.read_bytes()[:1000])
    Masked().apply(second, work)
    assert "is damaged" in capsys.readouterr().err
    expected = weights(first)
    assert all(torch.equal(value, expected[name]) for name, value in weights(second).items())
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_network_that_shows_no_hidden_states_is_refused(work: Work, reviews: Dataset) -> None:
    model = transformer.baseline("transformer", reviews, transformer.Settings(hidden=16))
    with pytest.raises(UsageError, match="leave --pretrain out"):
        Masked().apply(model, work)


def test_a_model_of_images_is_refused(work: Work) -> None:
    digits = datasets.load("digits")
    model = cnn.baseline("cnn", digits, cnn.Settings(width=4, hidden=8))
    with pytest.raises(UsageError, match="masked language modeling is for models that read text"):
        Masked().apply(model, replace(work, data=digits))


def test_no_epochs_are_refused() -> None:
    with pytest.raises(SettingError, match="epochs is 0"):
        Masked(epochs=0)


def test_texts_in_parts_are_learned_as_a_whole_batch_and_kept_as_the_same(
    make_model: Make, work: Work, tmp_path: Path
) -> None:
    whole, parts = make_model(), make_model()
    for model in (whole, parts):
        for layer in model.module.modules():
            if isinstance(layer, torch.nn.Dropout):
                layer.p = 0.0
    caches = [tmp_path / name for name in ("whole", "parts")]
    Masked(precision="fp32").apply(whole, replace(work, cache=caches[0]))
    Masked(precision="fp32", accumulate=3).apply(parts, replace(work, cache=caches[1]))
    expected = weights(whole)
    for name, value in weights(parts).items():
        torch.testing.assert_close(value, expected[name], atol=1e-4, rtol=1e-3)
    files = [next(path.rglob("encoder.safetensors")) for path in caches]
    assert files[0].parent.name == files[1].parent.name, "the cache's key is the same"
