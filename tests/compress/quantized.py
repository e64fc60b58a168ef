"""Small models of every family to quantize, and a step of every method."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from bmc import artifact
from bmc.compress.quantize.bf16 import Bf16
from bmc.compress.quantize.dynamic import Dynamic
from bmc.compress.quantize.fp16 import Fp16
from bmc.compress.quantize.mixed import Mixed
from bmc.compress.quantize.qat import Qat
from bmc.compress.quantize.static import Static
from bmc.compress.quantize.weights import Weights
from bmc.contracts import families
from bmc.data import Dataset
from bmc.model import AppliedStep, Model, Step, Work, output_of
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for
from tests._small_bert import lively_model
from tests._vnni import WEIGHT_BITS
from tests.models.test_mpnet import small as small_mpnet

FAMILIES = (
    *("bert", "cnn", "gan", "mlp", "mpnet", "ngram", "recurrent", "resnet", "textcnn"),
    "transformer",
)
STEPS: dict[str, Step] = {
    "static": Static(samples=16, weight_bits=WEIGHT_BITS),
    "qat": Qat(samples=16, weight_bits=WEIGHT_BITS),
    "mixed": Mixed(samples=16, max_drop=0, weight_bits=WEIGHT_BITS),
    "dynamic": Dynamic(weight_bits=WEIGHT_BITS),
    "weights": Weights(),
    "weights-4": Weights(bits=4),
    "fp16": Fp16(samples=8),
    "bf16": Bf16(),
}


def inputs_of(model: Model) -> list[dict[str, Tensor]]:
    return [
        {name: torch.from_numpy(array) for name, array in arrays.items()}
        for arrays in model.encoder.probes(4)
    ]


def outputs_of(model: Model) -> list[Tensor]:
    with torch.inference_mode():
        return [output_of(model.module.eval(), inputs) for inputs in inputs_of(model)]


def applied(model: Model, method: str, work: Work) -> AppliedStep:
    step = STEPS[method]
    record = json.loads(json.dumps(step.apply(model, work)))
    name = type(step).__module__.rpartition(".")[2]
    applied_step = AppliedStep(f"quantize/{name}", {}, record, 0, 0.0)
    model.steps.append(applied_step)
    return applied_step


def build(family: str, text: Dataset, images: Dataset, layers: int = 2) -> Model:
    """Build a small model of a family, always the same one.

    Args:
        family: name of the model family.
        text: data of a model that reads text.
        images: data of any other model.
        layers: encoder layers of a "bert" or "mpnet".
    """
    if family == "bert":
        return lively_model(layers=layers)
    if family == "mpnet":
        return small_mpnet(layers)
    module = families.network(family)
    name = next(iter(families.family(family).baselines))
    torch.manual_seed(0)
    data = text if "text" in families.family(family).takes else images
    sizes = {"resnet": {"width": 8}, "gan": {"width": 16}, "ngram": {"width": 4}}.get(family, {})
    model: Model = module.baseline(name, data, families.family(family).settings(**sizes))
    with torch.no_grad():  # fresh outputs hardly differ from row to row
        output = module.parts(model.module).outputs[0]
        model.module.get_parameter(f"{output}.weight").mul_(10)
        for table in module.parts(model.module).embeddings:
            weight = model.module.get_parameter(f"{table}.weight")
            if not weight.any():  # those of an n-gram classifier start at zero
                weight.normal_()
    return model


def work_on(model: Model, text: Dataset, images: Dataset, folder: Path) -> Work:
    """Return the work of a model on the data that it reads; what it writes is in the folder."""
    data = text if model.encoder.kind in ("text", "ngram") else images
    settings = TrainingSettings(epochs=1, precision="fp32", device="cpu")
    return work_for(
        data, (), settings, folder, folder, lambda name: artifact.load(Path(name)), run=""
    )
