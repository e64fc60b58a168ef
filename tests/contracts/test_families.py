"""Every model family: described without torch, and its network does what the contract says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace
from typing import Any

import pytest
import torch

from bmc import data as datasets
from bmc import plugins
from bmc.contracts import Family, Network, families
from bmc.data import Dataset
from bmc.errors import MissingError
from bmc.model import Model, output_of
from bmc.training.settings import TrainingSettings
from tests.models import _encoders
from tests.models.test_mpnet import small as small_mpnet

EVERY = families.FAMILIES.names()
SMALL: dict[str, dict[str, Any]] = {  # settings of a small network of each that is built here
    "cnn": {"width": 4, "hidden": 8},
    "ds-cnn": {"width": 4, "blocks": 1},
    "gan": {"latent": 8, "width": 8},
    "mlp": {"width": 8},
    "ngram": {"buckets": 64},
    "mobilenet-v2": {"pretrained": False, "multiplier": 0.25},
    "recurrent": {"hidden": 8, "embedding": 8, "vocabulary": 200},
    "resnet": {"width": 4},
    "textcnn": {"filters": 8, "embedding": 8, "vocabulary": 200},
    "transformer": {"hidden": 8, "heads": 2, "feed_forward": 8, "vocabulary": 200},
    "vgg": {"width": 4, "hidden": 8},
}
KINDS = plugins.names("bmc.inputs")


@pytest.fixture
def small(
    make_lively: Callable[..., Model], reviews: Dataset, clips: Dataset
) -> Callable[[str], Model]:
    """Return a function that builds a small model of a family."""

    def build(name: str) -> Model:
        if name == "bert":
            return make_lively()
        if name == "mpnet":
            return small_mpnet()
        if name in _encoders.ENCODERS:
            return _encoders.small(name)
        if name not in SMALL:
            pytest.skip("it builds networks of other packages: tests/models/test_timm_and_python")
        described = families.family(name)
        digits = datasets.load("digits")
        takes = described.takes
        data = reviews if "text" in takes else clips if takes == ("audio",) else digits
        torch.manual_seed(0)
        settings = described.settings(**SMALL[name])
        baseline = next(iter(described.baselines))
        return families.network(name).baseline(baseline, data, settings)

    return build


def network(name: str) -> Network:
    try:
        return families.network(name)
    except MissingError as error:
        pytest.skip(str(error))


def test_descriptions_import_neither_torch_nor_transformers_nor_numpy() -> None:
    code = (
        "import sys\n"
        "from bmc.contracts import families\n"
        "families.baselines()\n"
        "print({'torch', 'transformers', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("name", EVERY)
def test_a_family_says_what_it_takes_and_how_its_models_are_named(name: str) -> None:
    family = families.family(name)
    assert isinstance(family, Family)
    assert family.takes
    assert set(family.takes) <= set(KINDS)
    named = (family.baselines, family.references, family.prefix, family.students)
    assert any(named) or family.model_types
    assert all(about for about in (*family.baselines.values(), *family.references.values()))


@pytest.mark.parametrize("name", EVERY)
def test_its_settings_are_a_frozen_dataclass_whose_fields_all_have_defaults(name: str) -> None:
    settings = families.family(name).settings
    assert is_dataclass(settings)
    created = settings()
    assert replace(created) == created
    with pytest.raises(FrozenInstanceError):
        setattr(created, next((field.name for field in fields(created)), "none"), None)


@pytest.mark.parametrize("name", EVERY)
def test_it_has_a_recipe_for_each_of_its_baselines(name: str) -> None:
    family = families.family(name)
    for baseline in family.baselines or ("any",):
        assert isinstance(family.recipe(baseline), TrainingSettings)
        for taught in (False, True):
            recipe = families.recipe_of(family, baseline, family.settings(), taught)
            assert isinstance(recipe, TrainingSettings)


@pytest.mark.parametrize("name", EVERY)
def test_its_students_have_settings_that_can_be_changed_and_a_network_that_builds_them(
    name: str,
) -> None:
    family = families.family(name)
    for student, settings in family.students.items():
        assert replace(type(settings)()) == type(settings)()  # every field has a default
        assert isinstance(family.recipe(student), TrainingSettings)
        assert families.of_student(student) == name
        assert network(name).student is not None


@pytest.mark.parametrize("name", EVERY)
def test_its_network_follows_the_contract(name: str) -> None:
    assert isinstance(network(name), Network)


@pytest.mark.parametrize("name", EVERY)
def test_its_spec_alone_builds_the_network_again(name: str, small: Callable[[str], Model]) -> None:
    model = small(name)
    assert model.family == name
    again = network(name).build(model.spec)
    assert not again.training
    shapes = {key: value.shape for key, value in again.state_dict().items()}
    assert shapes == {key: value.shape for key, value in model.module.state_dict().items()}


@pytest.mark.parametrize("name", EVERY)
def test_its_examples_have_the_encoders_tensors_and_the_network_answers_them(
    name: str, small: Callable[[str], Model]
) -> None:
    model = small(name)
    expected = {info.name for info in model.encoder.tensors()}
    first, second = network(name).examples(model.module)
    assert set(first) == set(second) == expected
    assert any(first[key].shape != second[key].shape for key in first)
    for example in (first, second):
        with torch.inference_mode():
            outputs = output_of(model.module.eval(), example)
        rows = len(next(iter(example.values())))
        shape = [size for size in model.outputs()[0].shape if isinstance(size, int)]
        assert list(outputs.shape) == [rows, *shape]


@pytest.mark.parametrize("name", EVERY)
def test_its_parts_are_paths_in_the_network(name: str, small: Callable[[str], Model]) -> None:
    model = small(name)
    parts = network(name).parts(model.module)
    assert parts.outputs
    for path in (*parts.layers, *parts.heads, *parts.embeddings, *parts.outputs):
        model.module.get_submodule(path)


@pytest.mark.parametrize("name", EVERY)
def test_its_inference_form_answers_as_the_network_does(
    name: str, small: Callable[[str], Model]
) -> None:
    form_of = network(name).inference_form
    if form_of is None:
        pytest.skip("the network itself is exported")
    model = small(name)
    form = form_of(model).eval()
    for example in network(name).examples(model.module):
        with torch.inference_mode():
            expected = output_of(model.module.eval(), example)
            assert torch.allclose(output_of(form, example), expected, atol=1e-5)
