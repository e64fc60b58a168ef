"""A network that a Python caller gave by value, for rows of arrays or words: memory:NAME."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from bmc import memory
from bmc.contracts import Network
from bmc.contracts.tasks import task
from bmc.data import Dataset
from bmc.errors import ArtifactError, SettingError, UnknownError, UsageError
from bmc.families.memory import Settings
from bmc.inputs import Aligned, Arrays, Encoder
from bmc.measure.custom import CustomScore
from bmc.memory import PREFIX
from bmc.model import CustomLoss, Model, Parts, find_outputs
from bmc.models import _networks, image_networks
from bmc.models.feature_maps import view
from bmc.training.parametrizations import fold_parametrizations

Named = TypeVar("Named", CustomLoss, CustomScore)


class Wrapped(nn.Module):
    """The user's network, called with its inputs in order.

    Args:
        network: network that is called with one tensor for each input.
        names: names of the inputs.
        examples: two example batches, each by name of the input.
    """

    is_user_network = True  # see bmc/user_code.py

    def __init__(
        self, network: nn.Module, names: tuple[str, ...], examples: list[dict[str, Tensor]]
    ) -> None:
        super().__init__()
        self.network = network
        self.names = names
        self.examples = examples

    def outputs_of(self, inputs: Mapping[str, Tensor]) -> Any:
        """Return the outputs (rows, ...); in training, also the auxiliary outputs."""
        returned = self.network(*(inputs[name] for name in self.names))
        if self.training:
            return returned
        outputs = find_outputs(returned)[0]
        is_half = isinstance(outputs, Tensor) and outputs.dtype in (torch.float16, torch.bfloat16)
        return outputs.float() if is_half else outputs

    def output_linear(self) -> str | None:
        """Return the path of the linear layer that computes the network's output; None if none."""
        return image_networks.answering_linear(self)


@lru_cache
def _class_for(names: tuple[str, ...]) -> type[Wrapped]:
    """Return a class whose `forward` has arguments of these names, as torch.export asks for."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = inspect.Signature([inspect.Parameter(name, kind) for name in ("self", *names)])

    def forward(self: Wrapped, *positional: Tensor, **keyword: Tensor) -> Any:
        return self.outputs_of({**dict(zip(names, positional, strict=False)), **keyword})

    forward.__signature__ = signature  # type: ignore[attr-defined]
    return type("Wrapped", (Wrapped,), {"forward": forward})


def baseline(reference: str, data: Dataset, settings: Settings) -> Model:
    """Return a copy of the network, with the weights that it was given with.

    Raises:
        UnknownError: no network of that name was wrapped in this process.
        ModelCodeError: the network fails.
        UsageError: the outputs do not fit the classes of the data, or the network cannot be copied.
        SettingError: the network of a regression does not end in a linear layer.
    """
    name = reference.removeprefix(PREFIX)
    outputs = max(len(data.labels), 1)
    registered = memory.network(name)
    spec = {"code": f"{PREFIX}{name}", "outputs": outputs}
    spec |= {"loss": registered.loss.name} if registered.loss else {}
    spec |= {"score": registered.score.name} if registered.score else {}
    module = _built(spec)
    model = Model(module, "memory", spec, data.labels, registered.encoder, data.task)
    by_token = isinstance(registered.encoder, Aligned)
    _networks.check_network(
        module, module.examples[-1], outputs, lambda: build(spec), name, by_token=by_token
    )
    fold_parametrizations(module)
    if task(data.task).is_numeric and not image_networks.answering_linear(module):
        raise SettingError(f"{name} does not end in a linear layer, as a regression must")
    return model


def build(spec: Mapping[str, Any]) -> nn.Module:
    """Return a copy of the network that the spec names.

    Raises:
        ArtifactError: the spec is malformed.
        UnknownError: this process was given no network of that name.
    """
    module = _built(spec)
    fold_parametrizations(module)
    return module


def parts(module: nn.Module) -> Parts:
    """Return the path of the output layer."""
    output = image_networks.answering_linear(module)
    return Parts((), {}, (), (output,) if output else image_networks.last_linear(module))


def examples(module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return two inputs with different numbers of rows, for tracing and checks."""
    batches: Any = module.examples
    return batches[0], batches[1]


def loss(model: Model) -> CustomLoss | None:
    """Return the loss that a network was wrapped with; None where it was with none.

    Raises:
        UnknownError: this process was not given the loss that the model directory names.
    """
    recorded = model.spec.get("loss")
    registered = memory.network(_name_of(model.spec)).loss if recorded else None
    return _same(registered, "loss", recorded, model.spec)


def score(model: Model) -> CustomScore | None:
    """Return the score function that a network was wrapped with; None where it was with none.

    Raises:
        UnknownError: this process was not given the function that the model directory names.
    """
    recorded = model.spec.get("score")
    registered = memory.network(_name_of(model.spec)).score if recorded else None
    return _same(registered, "score", recorded, model.spec)


def _same(
    registered: Named | None, what: str, recorded: Any, spec: Mapping[str, Any]
) -> Named | None:
    """Return the function that was given, if its name is the recorded one.

    Raises:
        UnknownError: it is not.
    """
    if recorded and (registered is None or registered.name != recorded):
        raise UnknownError(
            f"the network {spec['code']} was wrapped with the {what} {recorded!r:.60}, which this "
            f"process was not given: bmc.wrap(module, data, name={_name_of(spec)!r}, {what}=...)"
        )
    return registered


def _name_of(spec: Mapping[str, Any]) -> str:
    """Return the name that a network was wrapped under.

    Raises:
        ArtifactError: the spec is malformed.
    """
    code = spec.get("code")
    if not isinstance(code, str):
        raise ArtifactError(f"the model's network is named {code!r:.60}; it must be a text")
    return code.removeprefix(PREFIX)


def _built(spec: Mapping[str, Any]) -> Wrapped:
    """Copy the network that was given.

    Raises:
        ArtifactError: the spec is malformed.
        UsageError: the network cannot be copied.
    """
    name = _name_of(spec)
    registered = memory.network(name)
    try:
        network = copy.deepcopy(registered.module)
    except (RuntimeError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise UsageError(f"{name} cannot be copied ({error}); bmc works on copies") from error
    names = tuple(info.name for info in registered.encoder.tensors())
    made_up = [
        {name: torch.from_numpy(array) for name, array in batch.items()}
        for batch in _probes(registered.encoder)
    ]
    return _class_for(names)(network, names, made_up).eval()


def _probes(encoder: Encoder) -> list[Arrays]:
    """Return two batches with different numbers of rows; texts have several tokens in each."""
    if not isinstance(encoder, Aligned):
        return encoder.probes(3)[-2:]
    return [max(encoder.probes(rows), key=lambda batch: len(batch["input_ids"])) for rows in (2, 3)]


NETWORK = Network(
    baseline=baseline,
    build=build,
    examples=examples,
    parts=parts,
    view=view,
    loss=loss,
    score=score,
)
