"""The training loop: settings, determinism, and which weights are left."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bmc.data import Dataset, Examples, Table, split
from bmc.errors import DivergedError, MissingError
from bmc.model import Model
from bmc.training.batches import Batch, Rows
from bmc.training.loop import fit
from bmc.training.settings import TrainingSettings
from bmc.training.work import fit_model, work_for

SETTINGS = TrainingSettings(epochs=2, learning_rate=1e-3, precision="fp32", device="cpu")
STEPS = 3


@pytest.fixture
def few(reviews: Dataset) -> Dataset:
    """Return the reviews with a training part of three batches."""
    rows = STEPS * SETTINGS.batch_size - 5
    train = Examples(reviews.train.rows[:rows], reviews.train.labels[:rows])
    return replace(reviews, train=train)


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.named_parameters()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first | second)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said_to_be_missing(
    model: Model, few: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(MissingError, match="--device cpu"):
        fit_model(model, few, replace(SETTINGS, device="cuda"), tmp_path)


def test_the_same_seed_gives_the_same_bits_and_another_seed_other_ones(
    make_model: Callable[..., Model], few: Dataset, tmp_path: Path
) -> None:
    models = [make_model() for _ in range(3)]
    for number, (model, seed) in enumerate(zip(models, (0, 0, 1), strict=True)):
        torch.manual_seed(number)  # what went on before must not matter
        fit_model(model, few, replace(SETTINGS, seed=seed), tmp_path / str(number))
    first, second, third = (weights(model.module) for model in models)
    assert same(first, second)
    assert not same(first, third)


def test_a_word_that_tells_the_class_is_learned(
    make_lively: Callable[..., Model], tmp_path: Path
) -> None:
    words = {"good": "positive", "bad": "negative"}
    rows = [(f"a {word} film, number {number}",) for number in range(60) for word in words]
    data = split(Table(rows, [*words.values()] * 60), "words", ("text",))
    settings = replace(SETTINGS, epochs=6, batch_size=8, learning_rate=3e-3)
    assert fit_model(make_lively(), data, settings, tmp_path).score == 1


def test_after_step_is_called_after_each_step_with_the_changed_module(
    model: Model, few: Dataset, tmp_path: Path
) -> None:
    seen = [weights(model.module)]

    shares = []

    def after(module: nn.Module, done: float) -> None:
        assert module is model.module
        shares.append(done)
        if done:
            seen.append(weights(module))

    fit_model(model, few, SETTINGS, tmp_path, after_step=after)
    total = STEPS * SETTINGS.epochs
    assert shares == pytest.approx([step / total for step in range(total + 1)])
    assert len(seen) == 1 + total
    assert not any(same(*pair) for pair in pairwise(seen))


def test_what_after_step_sets_is_what_the_model_has(
    model: Model, few: Dataset, tmp_path: Path
) -> None:
    def mask(module: nn.Module, done: float) -> None:
        with torch.no_grad():
            module.get_parameter("bert.pooler.dense.weight")[:, ::2] = 0

    fit_model(model, few, SETTINGS, tmp_path, after_step=mask)
    left = model.module.get_parameter("bert.pooler.dense.weight")
    assert int((left[:, ::2] != 0).sum()) == 0
    assert int((left[:, 1::2] != 0).sum()) > 0


def test_the_weights_of_the_best_epoch_are_the_ones_left(
    model: Model, few: Dataset, tmp_path: Path
) -> None:
    """From the second epoch on, the classifier always gives the rarer answer."""
    ends: list[dict[str, Tensor]] = []
    labels = few.validation.labels[:-1]
    few = replace(few, validation=Examples(few.validation.rows[:-1], labels))
    common = int(sum(labels) * 2 > len(labels))

    def after(module: nn.Module, done: float) -> None:
        steps = round(done * STEPS * SETTINGS.epochs)
        if not steps:
            return
        prediction = common if steps <= STEPS else 1 - common
        with torch.no_grad():
            module.get_parameter("classifier.weight").zero_()
            module.get_parameter("classifier.bias").zero_()[prediction] = 1
        if steps % STEPS == 0:
            ends.append(weights(module))

    assert sum(labels) * 2 != len(labels)
    fitted = fit_model(model, few, SETTINGS, tmp_path, after_step=after)
    assert fitted.best_epoch == 1
    assert fitted.score == fitted.history[0] > fitted.history[1]
    assert same(weights(model.module), ends[0])
    assert not same(ends[0], ends[1])
    assert not model.module.training


def test_frozen_parameters_stay_as_they_are(model: Model, few: Dataset, tmp_path: Path) -> None:
    before = weights(model.module)
    model.module.get_submodule("bert.embeddings").requires_grad_(requires_grad=False)
    fit_model(model, few, SETTINGS, tmp_path)
    after = weights(model.module)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert not any(name.startswith("bert.embeddings") for name in changed)


def test_unlabeled_texts_are_trained_on_after_the_labeled_rows(
    model: Model, few: Dataset, tmp_path: Path
) -> None:
    labels: dict[int, int] = {}

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        labels.update(zip(batch.rows.tolist(), batch.labels.tolist(), strict=True))
        return logits.square().mean()

    texts = (("a first text",), ("a second text",))
    fit_model(model, few, replace(SETTINGS, epochs=1), tmp_path, loss=loss, unlabeled=texts)
    ordered = [labels[index] for index in range(len(few.train) + 2)]
    assert ordered == [*few.train.labels, -1, -1]


def test_a_step_is_given_no_test_rows(few: Dataset, tmp_path: Path) -> None:
    assert len(few.test) > 0
    work = work_for(few, (), SETTINGS, tmp_path, tmp_path, load=never, run="")
    assert len(work.data.test) == 0
    assert work.data.train == few.train
    assert work.data.validation == few.validation


def never(reference: str) -> Model:
    raise AssertionError(f"{reference} was loaded")


# Regularization, early stopping, batches of tokens, divergence

QUICK = TrainingSettings(
    epochs=3, learning_rate=0.01, batch_size=32, precision="fp32", device="cpu", warmup=0.0
)


def right(logits: Tensor, batch: Batch) -> Tensor:
    return cross_entropy(logits, batch.labels)


def test_l1_drives_weights_towards_zero_and_leaves_biases_and_norms_alone(
    make_net: Callable[[], nn.Module], digit_rows: tuple[Rows, Rows], tmp_path: Path
) -> None:
    """With no loss of its own, only L1 moves weights: SGD takes the rate times its sign off."""
    settings = replace(
        QUICK,
        epochs=1,
        batch_size=500,
        learning_rate=0.001,
        optimizer="sgd",
        momentum=0.0,
        weight_decay=0.0,
        schedule="fixed",
        l1=0.5,
        clip=1e9,
    )
    module, before = make_net(), weights(make_net())
    fit(module, *digit_rows, settings, tmp_path, lambda logits, _: 0 * logits.sum())
    after = weights(module)
    for name in ("convolution.weight", "output.weight"):
        steps_taken = 0.001 * 0.5 * before[name].sign()
        torch.testing.assert_close(after[name], before[name] - steps_taken, atol=1e-6, rtol=0)
    for name in ("convolution.bias", "norm.weight", "norm.bias", "output.bias"):
        assert torch.equal(after[name], before[name])


@pytest.mark.parametrize(("patience", "epochs"), [(0, 6), (1, 3), (2, 4)])
def test_training_ends_so_many_epochs_after_the_best_and_keeps_it(
    make_net: Callable[[], nn.Module],
    digit_rows: tuple[Rows, Rows],
    tmp_path: Path,
    patience: int,
    epochs: int,
) -> None:
    """After the second epoch each one answers more of its rows with the class 0."""
    settings = replace(QUICK, epochs=6, patience=patience, learning_rate=0.005)
    module = make_net()
    a_epoch = len(digit_rows[0].shuffled(settings.batch_size, settings.seed, 0))
    ends: list[dict[str, Tensor]] = []

    def after(module: nn.Module, done: float) -> None:
        steps = round(done * 6 * a_epoch)
        if steps > 2 * a_epoch:
            with torch.no_grad():
                module.get_parameter("output.bias")[0] = steps
        if steps and steps % a_epoch == 0:
            ends.append(weights(module))

    fitted = fit(module, *digit_rows, settings, tmp_path, right, after)
    assert len(fitted.history) == len(ends) == epochs
    assert fitted.best_epoch == 2
    assert fitted.score == max(fitted.history)
    assert same(weights(module), ends[1])


def test_batches_by_tokens_hold_at_most_so_many_and_every_row_once(
    model: Model, few: Dataset, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    rows: list[int] = []

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        rows_of, length = batch.inputs["input_ids"].shape
        seen.append((rows_of, length))
        rows.extend(batch.rows.tolist())
        return right(logits, batch)

    settings = replace(SETTINGS, epochs=1, batch_size=16, batch_tokens=256)
    fit_model(model, few, settings, tmp_path, loss=loss)
    assert sorted(rows) == list(range(len(few.train)))
    assert all(count * length <= 256 for count, length in seen)
    assert all(count <= 16 for count, _ in seen)
    assert len({count for count, _ in seen}) > 1, "long rows come in smaller batches"


def test_a_row_longer_than_the_tokens_of_a_batch_is_a_batch_of_its_own(
    model: Model, few: Dataset, tmp_path: Path
) -> None:
    rows = Rows(few.train.rows, few.train.labels, model.encoder)
    batches = rows.shuffled(16, 0, 0, tokens=8)
    longer = [index for index in range(len(rows)) if rows.lengths[index] > 8]
    assert longer
    for places in batches:
        assert len(places) == 1 or max(rows.lengths[position] for position in places) <= 8


@pytest.mark.parametrize("due", [True, False])
def test_a_loss_that_is_no_number_stops_and_the_last_good_checkpoint_goes_on(
    make_net: Callable[[], nn.Module], digit_rows: tuple[Rows, Rows], tmp_path: Path, due: bool
) -> None:
    """The loss of step 5 is NaN; a checkpoint was due after step 3, or not before the epoch ends.

    Seven steps make an epoch. Without the NaN, the same run goes on from there.
    """
    settings = replace(QUICK, checkpoint_every=3 if due else 100)
    steps = 0

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        nonlocal steps
        steps += 1
        return right(logits, batch) * (torch.nan if steps == 5 else 1)

    module = make_net()
    with pytest.raises(DivergedError, match="epoch 1, step 5 ") as caught:
        fit(module, *digit_rows, settings, tmp_path, loss)
    assert caught.value.exit_code == 1
    assert "--learning-rate" in str(caught.value)
    path = tmp_path / "checkpoint.safetensors"
    assert path.exists() == due
    assert (str(path) in str(caught.value)) == due
    if due:
        kept = load_file(path)
        assert all(torch.isfinite(value.float()).all() for value in kept.values())
        assert {"now.norm.running_mean", "now.norm.running_var"} <= set(kept)
    counted: list[int] = []
    fit(make_net(), *digit_rows, settings, tmp_path, right, lambda _, done: counted.append(1))
    assert len(counted) == 1 + 21 - (3 if due else 0)


def test_a_gradient_that_is_infinite_stops_before_the_weights_are_changed(
    make_net: Callable[[], nn.Module], digit_rows: tuple[Rows, Rows], tmp_path: Path
) -> None:
    module, before = make_net(), weights(make_net())

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        return (logits * 1e30).square().mean()

    with pytest.raises(DivergedError, match="step 1 "):
        fit(module, *digit_rows, QUICK, tmp_path, loss)
    assert same(weights(module), before)


# Batch norm


def test_batch_norms_averages_are_those_of_the_best_epoch(
    make_net: Callable[[], nn.Module], digit_rows: tuple[Rows, Rows], tmp_path: Path
) -> None:
    module = make_net()
    averages: list[Tensor] = []

    def after(module: nn.Module, done: float) -> None:
        if done:
            averages.append(module.get_buffer("norm.running_mean").clone())
        if len(averages) > 7:  # from the second epoch on, all is answered with class 0
            with torch.no_grad():
                module.get_parameter("output.bias")[0] = 1e3

    fitted = fit(module, *digit_rows, replace(QUICK, epochs=2), tmp_path, right, after)
    assert fitted.best_epoch == 1
    assert torch.equal(module.get_buffer("norm.running_mean"), averages[6])
    assert not torch.equal(averages[6], averages[-1])


def test_a_score_far_below_zero_is_still_the_best_of_its_run(
    make_net: Callable[[int], nn.Module], digit_rows: tuple[Rows, Rows], tmp_path: Path
) -> None:
    """R2 has no lower bound: a first epoch at -1000 is the best so far."""
    train, validation = (copy(rows) for rows in digit_rows)
    for rows in (train, validation):
        rows.labels = rows.labels.float()

    def after(module: nn.Module, done: float) -> None:
        with torch.no_grad():
            module.get_parameter("output.bias")[0] = 1e3

    def loss(values: Tensor, batch: Batch) -> Tensor:
        return (values.squeeze(1) - batch.labels).square().mean()

    settings = replace(QUICK, epochs=1)
    module = make_net(1)
    fitted = fit(module, train, validation, settings, tmp_path, loss, after, task="regression")
    assert fitted.score < -1000
    assert (fitted.best_epoch, fitted.measure) == (1, "r2")
    assert float(module.get_parameter("output.bias")[0].detach()) == 1e3
