"""Networks of others, made ready and checked: lazy layers get their shapes.

What could be saved and not loaded again, or answers what no bundle could, is refused at once.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from bmc.errors import UsageError
from bmc.foreign import summary_of
from bmc.model import all_outputs_of, output_of
from bmc.writing import scratch

_ROWS = 3
_DEEPEST = 200
_CLOSE = 1e-3  # of the largest answer: sums in another order change less


def materialized(network: nn.Module, image: tuple[int, int, int]) -> nn.Module:
    """Return a network whose lazy layers have shapes, and that nothing compiles.

    Args:
        network: of the user.
        image: channels, height and width of its input.
    """
    network = getattr(network, "_orig_mod", network)  # of torch.compile
    for path, layer in list(network.named_modules()):
        if hasattr(layer, "_orig_mod"):
            network.set_submodule(path, layer._orig_mod)
    tensors = [*network.parameters(), *network.buffers()]
    if any(nn.parameter.is_lazy(value) for value in tensors):
        with torch.no_grad():
            network.eval()(torch.zeros(2, *image))
    return network


def check_network(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: int,
    again: Callable[[], nn.Module],
    name: str,
) -> int:
    """Refuse a network that could not be trained, saved, loaded and exported.

    Args:
        module: built for training; it is left as it was.
        inputs: to try, by name; several rows.
        outputs: how many numbers a row must be answered with.
        again: builds the network as a file's spec does.
        name: of the network, for messages.

    Returns:
        how many auxiliary answers it gives in training.

    Raises:
        ModelCodeError: it fails, in evaluation or in training.
        UsageError: it answers otherwise than it must, or cannot be saved and loaded.
    """
    with undisturbed(module):
        _check_evaluated(module, inputs, outputs, name)
        trained = _trained(module, inputs, outputs, name)
        _check_reloads(again, inputs, name)
    return len(trained) - 1


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Leave buffers, mode and the random numbers as they were, whatever the block computes."""
    buffers = {name: value.clone() for name, value in module.named_buffers()}
    training = module.training
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            module.train(training)
            with torch.no_grad():
                for name, value in module.named_buffers():
                    if name in buffers:
                        value.copy_(buffers[name])


@torch.no_grad()
def _check_evaluated(
    module: nn.Module, inputs: Mapping[str, Tensor], outputs: int, name: str
) -> None:
    """Refuse a network whose answers depend on more than each row, in evaluation."""
    module.eval()
    given = _copied(inputs)
    answer = output_of(module, given)
    _check_answer(answer, _rows_of(inputs), outputs, name)
    if not all(torch.equal(given[key], value) for key, value in inputs.items()):
        raise UsageError(
            f"{name}: the network changes its input in place (such as mul_ or inplace=True on "
            "pixels), which others read after it: compute a new tensor"
        )
    close = _CLOSE * max(float(answer.abs().max()), 1e-3)
    if not answer.isfinite().all():
        return  # nothing to compare; training says it
    if (output_of(module, inputs) - answer).abs().max() > close:
        raise UsageError(
            f"{name}: asked twice, the network answers differently in evaluation: what is random, "
            "or counts calls, must depend on self.training"
        )
    rows = [
        {key: value[place : place + 1] for key, value in inputs.items()}
        for place in range(_rows_of(inputs))
    ]
    alone = torch.cat([output_of(module, row) for row in rows])
    if alone.shape != answer.shape or (alone - answer).abs().max() > close:
        raise UsageError(
            f"{name}: in evaluation, a row's answer depends on the rows beside it (such as a batch "
            "norm with track_running_stats=False); a bundle answers rows alone and in batches"
        )


def _trained(
    module: nn.Module, inputs: Mapping[str, Tensor], outputs: int, name: str
) -> list[Tensor]:
    """Return what a network answers in training, if there is something to train."""
    if not any(value.requires_grad for value in module.parameters()):
        raise UsageError(f"{name}: the network has no parameters that training could change")
    module.train()
    with torch.enable_grad():
        answers = all_outputs_of(module, _copied(inputs))
    _check_answer(answers[0], _rows_of(inputs), outputs, name)
    if not answers[0].requires_grad:
        raise UsageError(
            f"{name}: the network's answer depends on none of its parameters (it is detached, or "
            "computed under torch.no_grad): nothing could be trained"
        )
    return answers


def _check_answer(answer: Any, rows: int, outputs: int, name: str) -> None:
    shape = tuple(getattr(answer, "shape", ()))
    if not isinstance(answer, Tensor) or shape != (rows, outputs):
        shown = f"with shape {shape}" if isinstance(answer, Tensor) else f"{answer!r:.60}"
        raise UsageError(
            f"{name}: the network answers {shown}, not {(rows, outputs)}, as {rows} rows of "
            f"{outputs} outputs need; of several answers, the one named logits, or the first, is "
            "taken"
        )
    if not answer.is_floating_point():
        raise UsageError(f"{name}: the network answers {answer.dtype}; logits are real numbers")


def _check_reloads(again: Callable[[], nn.Module], inputs: Mapping[str, Tensor], name: str) -> None:
    """Save the weights, load them into a network built anew, and compare the answers."""
    fresh = again()
    if _depth(fresh) > _DEEPEST:
        raise UsageError(f"{name}: its modules are nested over {_DEEPEST} deep; flatten them")
    try:
        source = copy.deepcopy(fresh)
    except (RuntimeError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{name}: the network cannot be copied ({summary_of(error)}); bmc works on copies"
        ) from error
    with scratch() as folder:
        path = folder / "model.safetensors"
        try:
            save_model(source, str(path))
            fresh = again()
            load_model(fresh, path, strict=True)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{name}: the network's weights cannot be saved and loaded ({summary_of(error)})"
            ) from error
    with torch.no_grad():
        first, second = (output_of(one.eval(), inputs) for one in (source, fresh))
    if not torch.allclose(first, second, rtol=_CLOSE, atol=_CLOSE, equal_nan=True):
        raise UsageError(
            f"{name}: built again with the same weights, the network answers differently: it holds "
            "numbers that are neither parameters nor buffers (register_buffer keeps them)"
        )


def _copied(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in inputs.items()}


def _rows_of(inputs: Mapping[str, Tensor]) -> int:
    return len(next(iter(inputs.values())))


def _depth(module: nn.Module) -> int:
    return max(len(path.split(".")) for path, _ in module.named_modules())
