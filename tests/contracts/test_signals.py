"""Every signal of distillation: described, refused where it cannot be, and 0 where both agree."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from bmc.contracts import families
from bmc.contracts.signals import SIGNALS, View, signal
from bmc.errors import UnknownError
from bmc.model import Model, output_of

EVERY = SIGNALS.names()


def view_of(model: Model) -> View:
    network = families.network(model.family)
    look = network.view
    assert look is not None
    return look(model.module.eval(), network.examples(model.module)[0])


@pytest.fixture(scope="module")
def view(make_lively: Callable[..., Model]) -> View:
    return view_of(make_lively())


def test_the_signals_are_the_files_of_their_folder() -> None:
    assert EVERY == ["attention", "embedding", "hidden", "relation"]


@pytest.mark.parametrize("name", EVERY)
def test_it_needs_parts_of_a_view_that_a_bert_has(name: str, view: View) -> None:
    assert set(signal(name).needs) <= view.parts()
    assert signal(name).about


@pytest.mark.parametrize("name", EVERY)
def test_its_loss_is_one_number_with_a_gradient(name: str, view: View) -> None:
    bound = signal(name).bind(view, view, list(range(len(view.attentions))))
    loss = bound(view, view)
    assert loss.shape == ()
    assert loss > -1e-6
    loss.backward(retain_graph=True)


@pytest.mark.parametrize("name", ["attention", "relation"])
def test_it_is_zero_where_both_compute_the_same(name: str, view: View) -> None:
    bound = signal(name).bind(view, view, [0, 1])
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
    for ours, its in (
        (seen.hidden, expected.hidden_states),
        (seen.attentions, expected.attentions),
    ):
        assert len(ours) == len(its)
        kept = inputs["attention_mask"].bool()
        for mine, theirs in zip(ours, its, strict=True):
            turned = [each if each.ndim == 3 else each.transpose(1, 2) for each in (mine, theirs)]
            torch.testing.assert_close(turned[0][kept], turned[1][kept], atol=1e-5, rtol=1e-4)
