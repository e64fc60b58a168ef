"""Every signal of distillation: described, refused where it cannot be, and 0 where both agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from bmc import data as datasets
from bmc.contracts import families
from bmc.contracts.signals import SIGNALS, View, signal
from bmc.errors import UnknownError
from bmc.model import Model, output_of

EVERY = SIGNALS.names()
OF_IMAGES = ("features", "spatial-attention")


def view_of(model: Model) -> View:
    network = families.network(model.family)
    look = network.view
    assert look is not None
    return look(model.module.eval(), network.examples(model.module)[0])


@pytest.fixture(scope="module")
def views(make_lively: Callable[..., Model]) -> dict[str, View]:
    """Return what a BERT and a convolutional network compute, by the signal that compares it."""
    text, image = view_of(make_lively()), view_of(network_of("cnn"))
    return {name: image if name in OF_IMAGES else text for name in EVERY}


def network_of(name: str, **settings: int) -> Model:
    torch.manual_seed(0)
    family = families.family(families.of_baseline(name))
    network = families.network(families.of_baseline(name))
    return network.baseline(name, datasets.load("digits"), family.settings(**settings))


def trained_on(view: View) -> View:
    """Return a view as training gives it: with the indices of its rows."""
    return replace(view, rows=torch.arange(len(view.logits)), total=len(view.logits))


def test_the_signals_are_the_files_of_their_folder() -> None:
    assert EVERY == [
        "attention",
        "embedding",
        "features",
        "hidden",
        "relation",
        "self",
        "spatial-attention",
    ]


@pytest.mark.parametrize("name", EVERY)
def test_it_needs_parts_of_a_view_that_a_bert_or_a_cnn_has(
    name: str, views: dict[str, View]
) -> None:
    assert set(signal(name).needs) <= trained_on(views[name]).parts()
    assert signal(name).about


@pytest.mark.parametrize("name", EVERY)
def test_its_loss_is_one_number_with_a_gradient(name: str, views: dict[str, View]) -> None:
    view = trained_on(views[name])
    bound = signal(name).bind(view, view, list(range(view.depth())))
    loss = bound(view, view)
    assert loss.shape == ()
    assert loss > -1e-6
    loss.backward(retain_graph=True)


@pytest.mark.parametrize("name", ["attention", "relation", "spatial-attention"])
def test_it_is_zero_where_both_compute_the_same(name: str, views: dict[str, View]) -> None:
    view = views[name]
    bound = signal(name).bind(view, view, list(range(view.depth())))
    assert float(bound(view, view).detach()) == pytest.approx(0, abs=1e-5)


def test_an_unknown_signal_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownError, match=r"no signal named 'relations'.*'relation'"):
        signal("relations")


def test_a_berts_view_is_what_transformers_computes(make_lively: Callable[..., Model]) -> None:
    model = make_lively()
    seen = view_of(model)
    inputs, _ = families.network("bert").examples(model.module)
    model.module.set_attn_implementation("eager")  # type: ignore[operator]
    with torch.no_grad():
        expected = model.module(**inputs, output_hidden_states=True, output_attentions=True)
        torch.testing.assert_close(seen.logits, output_of(model.module, inputs))
    for ours, teacher_data in (
        (seen.hidden, expected.hidden_states),
        (seen.attentions, expected.attentions),
    ):
        assert len(ours) == len(teacher_data)
        kept = inputs["attention_mask"].bool()
        for mine, reference in zip(ours, teacher_data, strict=True):
            turned = [
                each if each.ndim == 3 else each.transpose(1, 2) for each in (mine, reference)
            ]
            torch.testing.assert_close(turned[0][kept], turned[1][kept], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "sizes"), [("cnn", [8, 4, 2]), ("resnet18", [8, 4, 2]), ("mobilenet-v2", [8, 4, 2])]
)
def test_an_image_networks_view_has_the_last_map_of_each_resolution(
    name: str, sizes: list[int]
) -> None:
    settings = {"width": 4} if name != "mobilenet-v2" else {}
    model = network_of(name, **settings)
    seen = view_of(model)
    assert [maps.shape[-1] for maps in seen.maps] == sizes
    with torch.no_grad():
        inputs = families.network(model.family).examples(model.module)[0]
        torch.testing.assert_close(seen.logits, output_of(model.module, inputs))
    assert not model.module._forward_hooks


def test_a_cnns_maps_are_what_its_activations_and_its_last_pooling_return() -> None:
    model = network_of("cnn")
    layers, seen = model.module.get_submodule("features"), view_of(model)
    expected = families.network("cnn").examples(model.module)[0]["pixels"]
    after = []
    with torch.no_grad():
        for layer in layers.children():
            after.append(expected := layer(expected))
    for maps, index in zip(seen.maps, (1, 4, 5), strict=True):
        torch.testing.assert_close(maps, after[index])


def test_spatial_attention_of_two_maps_equals_a_value_computed_by_hand() -> None:
    """Squares (9, 16) have norm sqrt(337), and (1, 1) sqrt 2: the cosine is 25 / sqrt(674).

    The squared distance of two unit vectors is 2 - 2 cos = 0.074079.
    """
    logits = torch.zeros(1, 2)
    student = View(logits, maps=[torch.tensor([[[[3.0, 4.0]]]])])
    teacher = View(logits, maps=[torch.tensor([[[[1.0, 1.0]], [[-1.0, 1.0]]]])])
    bound = signal("spatial-attention").bind(student, teacher, [0])
    assert float(bound(student, teacher)) == pytest.approx(0.074079, abs=1e-5)


def test_features_of_other_sizes_and_channels_are_compared_at_the_smaller_size() -> None:
    logits = torch.zeros(2, 2)
    student = View(logits, maps=[torch.randn(2, 3, 8, 8)])
    teacher = View(logits, maps=[torch.randn(2, 5, 4, 4)])
    bound = signal("features").bind(student, teacher, [0])
    assert [tuple(value.shape) for value in bound.parameters()] == [(5, 3, 1, 1), (5,)]
    assert bound(student, teacher).isfinite()


def test_self_learns_nothing_in_the_first_epoch_and_then_the_average_of_the_earlier() -> None:
    """After logits (0, 0) the target is even; KL((1/2, 1/2) || (3/4, 1/4)) = ln(2 / sqrt 3).

    Its weight is 1 - 0.6 = 0.4 in the second epoch: 0.4 * 0.143841 = 0.057536.
    """
    rows = torch.tensor([1])
    first = View(torch.zeros(1, 2), rows=rows, total=3)
    then = replace(first, logits=torch.tensor([[3.0, 1.0]]).log())
    bound = signal("self").bind(first, first, [])
    assert float(bound(first, first)) == 0
    assert float(bound(then, then)) == pytest.approx(0.057536, abs=1e-6)
    average = dict(bound.named_buffers())["average"]
    expected = 0.4 * torch.tensor([[3.0, 1.0]]).log()
    torch.testing.assert_close(average[1:2], expected)
    assert not average[[0, 2]].any()
