"""Searching how strongly to prune: targets met gently, losses bounded, the model left alone."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bmc import data as datasets
from bmc.compress.prune.depth import Depth
from bmc.compress.prune.structured import Structured
from bmc.compress.prune.unstructured import Unstructured
from bmc.errors import SettingError, UsageError
from bmc.inspect.collect import costs_at
from bmc.inspect.layers import Costs
from bmc.inspect.sensitivity import Loss, Sensitivity
from bmc.measure.scores import Interval
from bmc.model import Model, Work
from bmc.models import cnn, gan, mlp, resnet
from bmc.training.settings import TrainingSettings
from bmc.training.work import fit_model, work_for
from bmc.workflows.budgets import Budget, check_budgets
from bmc.workflows.ratio_search import WON_BACK, Search, measure_norms

DIGITS = datasets.load("digits")
QUICK = TrainingSettings(epochs=4, learning_rate=0.01, precision="fp32", device="cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Return a perceptron that knows digits."""
    torch.manual_seed(0)
    model = mlp.baseline("mlp", DIGITS, mlp.Settings(width=64))
    fit_model(model, DIGITS, QUICK, tmp_path_factory.mktemp("checkpoints"))
    return model


@pytest.fixture(scope="module")
def residual(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Return a narrow residual network that knows digits somewhat."""
    torch.manual_seed(0)
    model = resnet.baseline("resnet18", DIGITS, resnet.Settings(width=8))
    fit_model(model, DIGITS, replace(QUICK, epochs=2), tmp_path_factory.mktemp("checkpoints"))
    return model


@pytest.fixture
def work(tmp_path: Path) -> Work:
    def never(reference: str) -> Model:
        raise AssertionError(f"{reference} was loaded")

    return work_for(DIGITS, (), QUICK, tmp_path, tmp_path, never, run="")


def fresh(family: Any, name: str, **settings: Any) -> Model:
    torch.manual_seed(0)
    model: Model = family.baseline(name, DIGITS, family.Settings(**settings))
    return model


def search(
    method: str,
    technique: Any,
    model: Model,
    work: Work,
    measured: Sensitivity | None = None,
    **settings: Any,
) -> Search:
    return Search(method, technique, settings, model, work, lambda: measured)


def sensitivity(**lost: float) -> Sensitivity:
    """Return what halving each layer costs."""
    losses = [
        Loss(layer.replace("__", "."), "prune-half", Interval(value, value, value), 0.0)
        for layer, value in lost.items()
    ]
    return Sensitivity("accuracy", Interval(0.9, 0.8, 1.0), 100, tuple(losses))


def applied(technique: Any, settings: dict[str, Any], model: Model, work: Work) -> Model:
    """Apply settings to a copy."""
    copied = replace(model, module=copy.deepcopy(model.module))
    technique(**settings).apply(copied, work)
    return copied


def costs(model: Model) -> Costs:
    return costs_at(model, 32, runs=1)


@pytest.mark.parametrize(
    ("what", "typed", "most"),
    [
        ("macs", "50", 50.0),
        ("macs", "1.5k", 1500.0),
        ("params", "2M", 2e6),
        ("params", "1G", 1e9),
        ("size", "500kB", 5e5),
        ("size", "2 MB", 2e6),
        ("size", "12B", 12.0),
    ],
)
def test_a_number_is_read_with_its_unit(what: str, typed: str, most: float) -> None:
    model = fresh(mlp, "mlp")
    assert Budget(what, typed).most(costs(model)) == most


def test_a_share_is_one_of_what_the_model_takes_now() -> None:
    now = costs(fresh(mlp, "mlp"))
    assert Budget("macs", "0.25x").most(now) == now.macs / 4
    assert Budget("params", "0.5x").most(now) == now.parameters / 2
    assert Budget("size", ".5x").most(now) == now.bytes / 2
    assert len({now.macs, now.parameters, now.bytes}) == 3


@pytest.mark.parametrize(
    "typed", ["", "x", "-3", "0", "4x", "1x", "0x", "10%", "50MB", "nan", "1e6"]
)
def test_what_is_no_target_is_refused(typed: str) -> None:
    with pytest.raises(SettingError, match=f"--target-macs is '{typed}'; "):
        Budget("macs", typed)


def test_a_target_is_reached_and_not_by_far(trained: Model, work: Work) -> None:
    before = {name: value.clone() for name, value in trained.module.state_dict().items()}
    now = costs(trained)
    for what, typed in (("macs", "0.4x"), ("params", "0.3x"), ("size", "9kB")):
        target = Budget(what, typed)
        settings = search("structured", Structured, trained, work, multiple=1).for_budgets(
            (target,)
        )
        reached = costs(applied(Structured, settings, trained, work))
        assert 0.93 * target.most(now) < target.of(reached) <= target.most(now)
        assert target.missed(now, reached) == ""
    assert all(
        torch.equal(before[name], each) for name, each in trained.module.state_dict().items()
    )


def test_no_layer_could_keep_eight_units_more_within_the_target(work: Work) -> None:
    model = fresh(cnn, "cnn")
    target = Budget("macs", "0.3x")
    settings = search("structured", Structured, model, work).for_budgets((target,))
    sizes = {"features.0": 32, "features.3": 64, "hidden": 100}
    assert set(settings["ratios"]) == set(sizes)
    for layer, units in sizes.items():
        if settings["ratios"][layer] > 0:
            more = max(settings["ratios"][layer] - 8 / units, 0.0)
            richer = applied(
                Structured, {**settings, "ratios": {**settings["ratios"], layer: more}}, model, work
            )
            assert target.missed(costs(model), costs(richer))


def test_all_of_several_targets_are_met(trained: Model, work: Work) -> None:
    targets = (Budget("params", "0.8x"), Budget("macs", "0.3x"))
    settings = search("structured", Structured, trained, work).for_budgets(targets)
    reached = costs(applied(Structured, settings, trained, work))
    assert not any(target.missed(costs(trained), reached) for target in targets)


def test_layers_that_lose_little_are_cut_more(work: Work) -> None:
    model = fresh(cnn, "cnn")
    names = [name for name, part in model.module.named_modules() if isinstance(part, nn.Conv2d)]
    assert len(names) >= 2
    lost = {name.replace(".", "__"): 0.2 for name in names} | {names[0].replace(".", "__"): 0.001}
    target = (Budget("macs", "0.5x"),)
    settings = search("structured", Structured, model, work, sensitivity(**lost)).for_budgets(
        target
    )
    ratios = settings["ratios"]
    assert all(ratios[names[0]] > ratios[name] > 0 for name in names[1:])


def test_layers_that_hold_little_of_what_is_saved_are_cut_less(work: Work) -> None:
    model = fresh(cnn, "cnn")  # its linear layer has most parameters and few multiplications
    by_macs, by_params = (
        search("structured", Structured, model, work).for_budgets((Budget(what, "0.3x"),))["ratios"]
        for what in ("macs", "params")
    )
    assert by_macs["hidden"] < min(by_macs[name] for name in ("features.0", "features.3"))
    assert by_params["hidden"] > by_params["features.0"]


def test_typed_settings_stay_beside_those_that_were_found(trained: Model, work: Work) -> None:
    asked = search("structured", Structured, trained, work, criterion="random", multiple=4)
    settings = asked.for_budgets((Budget("params", "0.5x"),))
    assert settings["criterion"] == "random"
    assert settings["multiple"] == 4


def test_a_search_over_all_layers_at_once_has_one_ratio(trained: Model, work: Work) -> None:
    settings = search("structured", Structured, trained, work, scope="global").for_budgets(
        (Budget("params", "0.5x"),)
    )
    assert set(settings) == {"scope", "ratio"}
    reached = costs(applied(Structured, settings, trained, work))
    assert reached.parameters <= 0.5 * costs(trained).parameters


def test_a_target_out_of_reach_gives_the_strongest_settings_and_says_what_they_reach(
    trained: Model, work: Work
) -> None:
    target = Budget("params", "10")
    settings = search("structured", Structured, trained, work).for_budgets((target,))
    assert set(settings["ratios"].values()) == {0.95}
    reached = costs(applied(Structured, settings, trained, work))
    message = target.missed(costs(trained), reached)
    assert f"{reached.parameters:,} parameters" in message
    assert "--target-params 10 was not met" in message


def test_a_model_that_is_within_the_target_is_refused(trained: Model, work: Work) -> None:
    with pytest.raises(UsageError, match="within --target-params 1M as it is"):
        search("structured", Structured, trained, work).for_budgets((Budget("params", "1M"),))


@pytest.mark.parametrize("measured", [None, sensitivity(output=1.0)])
def test_a_model_without_layers_to_prune_is_refused(
    work: Work, measured: Sensitivity | None
) -> None:
    model = fresh(mlp, "mlp", depth=0)
    with pytest.raises(UsageError, match="structured found nothing to prune"):
        search("structured", Structured, model, work, measured).for_budgets(
            (Budget("macs", "0.5x"),)
        )


def test_a_generator_has_no_scores_and_meets_a_target(work: Work) -> None:
    model = fresh(gan, "gan", width=32)
    settings = search("structured", Structured, model, work).for_budgets(
        (Budget("params", "0.3x"),)
    )
    reached = costs(applied(Structured, settings, model, work))
    assert reached.parameters <= 0.3 * costs(model).parameters


def test_no_more_layers_go_than_the_target_asks_for(work: Work) -> None:
    model = fresh(resnet, "resnet18", width=8)
    target = Budget("macs", "0.7x")
    settings = search("depth", Depth, model, work, rule="last").for_budgets((target,))
    assert settings["layers"] == ("layer4.1", "layer3.1", "layer2.1")
    most = target.most(costs(model))
    assert costs(applied(Depth, settings, model, work)).macs <= most
    fewer = {**settings, "layers": settings["layers"][:-1]}
    assert costs(applied(Depth, fewer, model, work)).macs > most
    strongest = search("depth", Depth, model, work, rule="last").for_budgets((Budget("macs", "1"),))
    assert len(strongest["layers"]) == 4


@pytest.mark.parametrize("tuned", [False, True])
def test_right_after_pruning_no_more_is_lost_than_may_be(
    trained: Model, work: Work, tuned: bool
) -> None:
    whole, points = work.score(trained), 2.0
    allowed = points / 100 * (WON_BACK if tuned else 1)
    settings = search("unstructured", Unstructured, trained, work).for_drop(points, tuned)
    assert whole - work.score(applied(Unstructured, settings, trained, work)) <= allowed + 1e-9
    beyond = {**settings, "ratio": settings["ratio"] + 0.95 / 2**7}
    assert whole - work.score(applied(Unstructured, beyond, trained, work)) > allowed


def test_fine_tuning_lets_more_go(trained: Model, work: Work) -> None:
    item = search("structured", Structured, trained, work, multiple=1)
    sizes = [
        costs(applied(Structured, item.for_drop(2.0, tuned), trained, work)).parameters
        for tuned in (True, False)
    ]
    assert sizes[0] < sizes[1] < costs(trained).parameters


def test_layers_go_as_long_as_the_score_holds(residual: Model, work: Work) -> None:
    whole, asked = work.score(residual), search("depth", Depth, residual, work)
    settings = asked.for_drop(10.0, tuned=False)
    assert whole - work.score(applied(Depth, settings, residual, work)) <= 0.1
    assert len(asked.for_drop(100.0, tuned=False)["layers"]) == 4


def test_a_loss_that_nothing_keeps_to_is_refused(trained: Model, work: Work) -> None:
    asked = search("structured", Structured, trained, work, multiple=32)
    with pytest.raises(UsageError, match="--max-drop 0"):
        asked.for_drop(0.0, tuned=False)


def test_batch_norms_are_measured_anew_where_fine_tuning_will_do_so(
    residual: Model, work: Work
) -> None:
    """Pruned maps have other means; the score would fall by what fine-tuning mends at once."""
    settings = search("structured", Structured, residual, work, multiple=8).for_drop(
        5.0, tuned=True
    )
    pruned, least = (
        applied(Structured, settings, residual, work),
        work.score(residual) - 0.05 * WON_BACK,
    )
    assert work.score(pruned) < least - 1e-9
    measure_norms(pruned, work)
    assert work.score(pruned) >= least - 1e-9


def test_norms_that_fit_no_more_are_mended_and_left_as_they_were_set(
    residual: Model, work: Work
) -> None:
    model = replace(residual, module=copy.deepcopy(residual.module))
    norms = [part for part in model.module.modules() if isinstance(part, nn.BatchNorm2d)]
    whole = work.score(model)
    for norm in norms:
        norm.running_mean, norm.running_var = (
            torch.full((norm.num_features,), value) for value in (1.0, 9.0)
        )
    assert work.score(model) < whole - 0.2
    measure_norms(model, work)
    assert work.score(model) > whole - 0.1
    assert {(norm.momentum, norm.training) for norm in norms} == {(0.1, False)}


@pytest.mark.parametrize("method", ["unstructured", "movement", "nm", "vocabulary"])
def test_a_method_that_changes_no_layers_shape_takes_no_target(method: str) -> None:
    with pytest.raises(UsageError, match="structured or depth"):
        check_budgets(method, {}, (Budget("macs", "0.5x"),))


def test_a_ratio_beside_a_target_is_refused() -> None:
    target = (Budget("macs", "0.5x"),)
    for method, settings in (("structured", {"ratio": 0.5}), ("depth", {"layers": ("a",)})):
        with pytest.raises(UsageError, match="leave one of them out"):
            check_budgets(method, settings, target)
        check_budgets(method, settings, ())
    check_budgets("structured", {"layers": ("a",)}, target)
