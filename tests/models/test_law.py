"""What every family must keep for every compression: the law of Records, and inference forms."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_model, save_model
from torch import Tensor

from bmc import artifact, plugins
from bmc import data as datasets
from bmc.compress.distill.generator import Generator
from bmc.compress.distill.logits import Logits
from bmc.compress.distill.masked import Masked
from bmc.compress.distill.weighted import Weighted
from bmc.compress.prune.depth import Depth
from bmc.compress.prune.movement import Movement
from bmc.compress.prune.nm import NM
from bmc.compress.prune.structured import Structured
from bmc.compress.prune.unstructured import Unstructured
from bmc.compress.prune.vocabulary import Vocabulary
from bmc.compress.share.cluster import Cluster
from bmc.compress.share.embedding import FactorizedEmbedding
from bmc.compress.share.layers import Layers
from bmc.compress.share.lowrank import LowRank
from bmc.compress.share.tie import Tie
from bmc.contracts import families
from bmc.data import Dataset
from bmc.files import sha256
from bmc.inference.form import inference_form
from bmc.inputs.text import TextEncoder
from bmc.model import Model, Record, Step, Work, output_of
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for
from tests.models import _encoders

ENCODERS = tuple(_encoders.ENCODERS)
FAMILIES = (
    "bert",
    "cnn",
    "ds-cnn",
    "mlp",
    "ngram",
    "recurrent",
    "textcnn",
    "transformer",
    *ENCODERS,
)
METHODS = [
    f"{kind}/{name}"
    for kind in plugins.folders("bmc.compress")
    if kind != "quantize"  # it makes a model its inference form: tests/compress/test_quantize.py
    for name in plugins.names(f"bmc.compress.{kind}")
]
# Methods that train, on texts of one column.
TRAINING = ("distill/logits", "distill/masked", "distill/weighted", "prune/movement")
DISTILLED = ("bert",)  # families whose students can be taught by the small BERT of these tests
LEFT_OUT = {  # methods that a family cannot take, and why
    ("prune/depth", "cnn"): "its layers have no shortcut",
    ("prune/depth", "ds-cnn"): "its layers have no shortcut",
    ("prune/depth", "mlp"): "its layers have no shortcut",
    ("prune/depth", "recurrent"): "its layers have no shortcut",
    ("prune/depth", "textcnn"): "its layers have no shortcut",
    ("prune/movement", "cnn"): "it trains, and the data of these tests are texts",
    ("prune/movement", "ds-cnn"): "it trains, and the data of these tests are texts",
    ("prune/movement", "mlp"): "it trains, and the data of these tests are texts",
    ("prune/nm", "recurrent"): "it has no linear but its output",
    ("prune/vocabulary", "cnn"): "it reads no text",
    ("prune/vocabulary", "ds-cnn"): "it reads no text",
    ("prune/vocabulary", "mlp"): "it reads no text",
    ("share/embedding", "cnn"): "it reads no text",
    ("share/embedding", "ds-cnn"): "it reads no text",
    ("share/embedding", "mlp"): "it reads no text",
    ("share/layers", "cnn"): "no two of its layers in a row are equal",
    ("share/layers", "mlp"): "it has one hidden layer",
    ("share/layers", "recurrent"): "it has one layer",
    ("share/layers", "textcnn"): "its layers are side by side",
    ("share/lowrank", "recurrent"): "it has no linear but its output",
    ("share/tie", "cnn"): "no two of its parameters have one shape",
    ("share/tie", "mlp"): "no two of its parameters have one shape",
    ("share/tie", "textcnn"): "no two of its weights have one shape",
}
LEFT_OUT |= {
    ("distill/generator", "bert"): "it teaches generators",
    ("distill/vectors", "bert"): "it teaches encoders of sentence embeddings, without classes",
}
LEFT_OUT |= {
    ("share/layers", "albert"): "its layers are one already",
    ("share/tie", "albert"): "its layers are one already",
    ("share/layers", "modernbert"): "one of its two layers sees a window, the other all tokens",
}
LEFT_OUT |= {
    ("prune/movement", family): "it trains, and a distilbert is of the same layers"
    for family in ENCODERS
    if family != "distilbert"
}
LEFT_OUT |= {
    (method, "ngram"): "it has an embedding and an output, and no layer between them"
    for method in METHODS
    if method != "share/cluster"
}
CROSSED = [
    (method, family)
    for method in METHODS
    for family in FAMILIES
    if family in DISTILLED or not method.startswith("distill/")
    if (method, family) not in LEFT_OUT
]
SMALLER: dict[str, dict[str, int]] = {
    "ds-cnn": {"width": 32, "blocks": 2},
    "ngram": {"buckets": 4096},
    "recurrent": {"hidden": 32, "embedding": 32},
    "textcnn": {"filters": 32, "embedding": 32},
    "transformer": {"hidden": 64, "heads": 2, "feed_forward": 128},
}
TIED = {  # parameters of one shape
    "ds-cnn": "features.1.1.0.weight:features.2.1.0.weight",
    "bert": "bert.encoder.layer.0.attention.self.key.weight"
    ":bert.encoder.layer.1.attention.self.key.weight",
    "recurrent": "layers.0.ahead.weight_ih_l0:layers.0.back.weight_ih_l0",
    "transformer": "layers.0.widen.weight:layers.1.widen.weight",
}


def step_of(method: str, teacher: Path, family: str) -> Step:
    """Return a step with settings that change a small model; a new method gets a line here."""
    steps: dict[str, Callable[[], Step]] = {
        "distill/generator": lambda: Generator(str(teacher), "0" * 64),
        "distill/logits": lambda: Logits(str(teacher), sha256(teacher / "model.safetensors")),
        "distill/masked": lambda: Masked(epochs=1),
        "distill/weighted": lambda: Weighted(
            str(teacher), sha256(teacher / "model.safetensors"), {"logits": 1.0, "hidden": 1.0}
        ),
        "prune/depth": lambda: Depth(rule="last"),
        "prune/movement": lambda: Movement(epochs=1),
        "prune/nm": lambda: NM(),
        "prune/structured": lambda: Structured(ratio=0.5),
        "prune/unstructured": lambda: Unstructured(),
        "prune/vocabulary": lambda: Vocabulary(margin=0, max_split=1),
        "share/cluster": lambda: Cluster(values=16, groups=2),
        "share/embedding": lambda: FactorizedEmbedding(energy=0.5),
        "share/layers": lambda: Layers(),
        "share/lowrank": lambda: LowRank(energy=0.5),
        "share/tie": lambda: Tie((TIED.get(family) or _encoders.tied(family),)),
    }
    return steps[method]()


@pytest.fixture(scope="module")
def digits() -> Dataset:
    """Return the images of 8 x 8 that come with scikit-learn."""
    return datasets.load("digits")


@pytest.fixture(scope="module")
def build_model(
    make_lively: Callable[..., Model], reviews: Dataset, clips: Dataset, digits: Dataset
) -> Callable[..., Model]:
    """Return a function that makes a small model of a family, always the same one."""

    @functools.cache
    def built(family: str, columns: int) -> tuple[Model, Tensor]:
        if family in ENCODERS:
            return _encoders.small(family, columns), torch.get_rng_state()
        module = families.network(family)
        name = next(iter(families.family(family).baselines))
        torch.manual_seed(0)
        takes = families.family(family).takes
        data = reviews if "text" in takes else clips if takes == ("audio",) else digits
        settings = families.family(family).settings(**SMALLER.get(family, {}))
        model: Model = module.baseline(name, data, settings)
        with torch.no_grad():  # fresh outputs hardly differ from row to row
            output = module.parts(model.module).outputs[0]
            model.module.get_parameter(f"{output}.weight").mul_(20)
            for table in module.parts(model.module).embeddings:
                weight = model.module.get_parameter(f"{table}.weight")
                if not weight.any():  # those of an n-gram classifier start at zero
                    weight.normal_()
        return model, torch.get_rng_state()

    def build(family: str, columns: int = 1) -> Model:
        if family == "bert":
            return make_lively(columns)
        model, state = built(family, columns)
        torch.set_rng_state(state)
        encoder = model.encoder
        if type(encoder) is TextEncoder:  # steps may change its tokenizer
            encoder = TextEncoder(encoder.tokenizer, encoder.settings)
        module, spec = copy.deepcopy(model.module), copy.deepcopy(model.spec)
        return replace(model, module=module, spec=spec, encoder=encoder, steps=[])

    return build


@pytest.fixture
def work(reviews: Dataset, tmp_path: Path) -> Work:
    settings = TrainingSettings(epochs=1, precision="fp32", device="cpu")
    return work_for(
        reviews, (), settings, tmp_path, tmp_path, lambda name: artifact.load(Path(name)), run=""
    )


def inputs_of(model: Model) -> list[dict[str, Tensor]]:
    """Return the family's two examples; with token types of both kinds for pairs."""
    inputs: list[dict[str, Tensor]] = list(family_of(model).examples(model.module))
    if "token_type_ids" not in [info.name for info in model.encoder.tensors()]:
        return inputs
    for example in inputs:
        types = torch.zeros_like(example["input_ids"])
        types[:, 3:] = 1
        example["token_type_ids"] = types
    return inputs


def family_of(model: Model) -> Any:
    return families.network(model.family)


def logits_of(model: Model, inputs: dict[str, Tensor]) -> Tensor:
    with torch.inference_mode():
        return output_of(model.module.eval(), inputs)


def test_the_methods_and_families_are_found() -> None:
    assert {"share/lowrank", "distill/logits"} <= set(METHODS)
    assert set(FAMILIES) <= set(families.FAMILIES.names())


@pytest.mark.parametrize(("method", "family"), CROSSED)
def test_a_record_rebuilds_names_and_shapes_and_the_outputs_are_bit_equal(
    method: str,
    family: str,
    build_model: Callable[..., Model],
    work: Work,
    model_folder: Path,
    tmp_path: Path,
) -> None:
    applied = build_model(family)
    step = step_of(method, model_folder, family)
    record: Record = json.loads(json.dumps(step.apply(applied, work)))
    rebuilt = build_model(family)
    rebuilt.module = family_of(rebuilt).build(rebuilt.spec)
    type(step).rebuild(rebuilt, record)
    shapes = {name: value.shape for name, value in applied.module.state_dict().items()}
    assert {name: value.shape for name, value in rebuilt.module.state_dict().items()} == shapes
    if method.startswith("share/"):
        assert record
    save_model(applied.module, str(tmp_path / "weights.safetensors"))
    load_model(rebuilt.module, tmp_path / "weights.safetensors", strict=True)
    for inputs in inputs_of(applied):
        assert torch.equal(logits_of(applied, inputs), logits_of(rebuilt, inputs))
    if method.startswith("distill/"):
        assert record == {}


@pytest.mark.parametrize(
    ("method", "family"), [pair for pair in CROSSED if not pair[0].startswith("distill/")]
)
def test_records_of_a_step_applied_twice_replay_in_order(
    method: str, family: str, build_model: Callable[..., Model], work: Work, model_folder: Path
) -> None:
    applied, rebuilt = build_model(family), build_model(family)
    step = step_of(method, model_folder, family)
    records = [step.apply(applied, work), step.apply(applied, work)]
    for record in records:
        type(step).rebuild(rebuilt, record)
    shapes = {name: value.shape for name, value in applied.module.state_dict().items()}
    assert {name: value.shape for name, value in rebuilt.module.state_dict().items()} == shapes


@pytest.mark.parametrize(
    ("method", "family", "columns"),
    [
        *[
            (method, "bert", columns)
            for method in ("no step", *METHODS)
            if (method, "bert") not in LEFT_OUT
            for columns in (1, 2)
        ],
        *[(method, family, 1) for method, family in CROSSED if family != "bert"],
        *[("no step", family, 1) for family in FAMILIES if family != "bert"],
    ],
)
def test_the_inference_form_answers_as_the_module(
    method: str,
    columns: int,
    family: str,
    build_model: Callable[..., Model],
    work: Work,
    model_folder: Path,
) -> None:
    model = build_model(family, columns)
    if method != "no step" and not (method in TRAINING and columns == 2):
        before = {name: value.clone() for name, value in model.module.state_dict().items()}
        step_of(method, model_folder, family).apply(model, work)
        after = model.module.state_dict()
        assert any(name not in after or not before[name].equal(after[name]) for name in before)
    form = inference_form(model)
    for inputs in inputs_of(model):
        expected = logits_of(model, inputs)
        with torch.inference_mode():
            result = output_of(form, inputs)
        assert expected.std() > 0.1, "answers that do not differ prove nothing"
        torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)
