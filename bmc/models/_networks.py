"""Prepare and check the networks of users: lazy layers get their shapes.

A network that cannot be saved and loaded, or whose outputs a bundle could not reproduce, is refused
before any training.
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
from bmc.model import all_outputs_of, output_of
from bmc.user_code import summary_of
from bmc.writing import scratch

_ROWS = 3
_MAX_DEPTH = 200
_TOLERANCE = 1e-3  # of the largest output: more than a different order of sums changes


def materialized(network: nn.Module, image: tuple[int, int, int]) -> nn.Module:
    """Return a network with initialized lazy layers, and without torch.compile.

    Args:
        network: network of the user.
        image: channels, height and width of the network's input.
    """
    network = getattr(network, "_orig_mod", network)  # set by torch.compile
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
    by_token: bool = False,
) -> int:
    """Refuse a network that could not be trained, saved, loaded and exported.

    Args:
        module: network to check; it is not changed.
        inputs: example inputs with several rows, by name.
        outputs: required number of outputs for each row, or each token.
        again: function that builds the network again, as loading a model directory does.
        name: name of the network, for messages.
        by_token: whether each token has outputs, (rows, length, outputs).

    Returns:
        the number of auxiliary outputs in training.

    Raises:
        ModelCodeError: the network fails, in evaluation or in training.
        UsageError: the outputs are invalid, or the network cannot be saved and loaded.
    """
    with undisturbed(module):
        rows, *length = next(iter(inputs.values())).shape
        shape = (rows, length[0], outputs) if by_token else (rows, outputs)
        _check_evaluated(module, inputs, shape, name)
        if by_token:
            _check_padding(module, inputs, name)
        trained = _trained(module, inputs, shape, name)
        _check_reloads(again, inputs, name)
    return len(trained) - 1


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Restore buffers, training mode and the random state after the block."""
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
    module: nn.Module, inputs: Mapping[str, Tensor], shape: tuple[int, ...], name: str
) -> None:
    """Refuse a network whose outputs in evaluation depend on more than the row itself."""
    module.eval()
    passed = _copied(inputs)
    output = output_of(module, passed)
    _check_output(output, shape, name)
    if not all(torch.equal(passed[key], value) for key, value in inputs.items()):
        raise UsageError(
            f"{name}: the network changes its input in place (such as mul_ or inplace=True on "
            "pixels), which others read after it: compute a new tensor"
        )
    tolerance = _TOLERANCE * max(float(output.abs().max()), 1e-3)
    if not output.isfinite().all():
        return  # outputs cannot be compared; training reports NaN and infinity
    if (output_of(module, inputs) - output).abs().max() > tolerance:
        raise UsageError(
            f"{name}: called twice, the network's outputs differ in evaluation: random numbers and "
            "counts of calls must depend on self.training"
        )
    rows = [
        {key: value[index : index + 1] for key, value in inputs.items()}
        for index in range(_rows_of(inputs))
    ]
    row_by_row = torch.cat([output_of(module, row) for row in rows])
    if row_by_row.shape != output.shape or (row_by_row - output).abs().max() > tolerance:
        raise UsageError(
            f"{name}: in evaluation, a row's output depends on the other rows of the batch (such "
            "as a batch norm with track_running_stats=False); a bundle runs rows alone and in "
            "batches"
        )


@torch.no_grad()
def _check_padding(module: nn.Module, inputs: Mapping[str, Tensor], name: str) -> None:
    """Refuse a network in which the padding of a row changes the outputs of the row's tokens."""
    kept = int(inputs["attention_mask"][0].sum())
    padded = output_of(module, {key: value[:1] for key, value in inputs.items()})[:, :kept]
    alone = output_of(module, {key: value[:1, :kept] for key, value in inputs.items()})
    if not (padded.isfinite().all() and alone.isfinite().all()):
        return  # outputs cannot be compared; training reports NaN and infinity
    tolerance = _TOLERANCE * max(float(alone.abs().max()), 1e-3)
    if (padded - alone).abs().max() > tolerance:
        raise UsageError(
            f"{name}: in evaluation, the outputs of a row's tokens depend on the padding after "
            "them, which differs from batch to batch: leave out what attention_mask marks with 0"
        )


def _trained(
    module: nn.Module, inputs: Mapping[str, Tensor], shape: tuple[int, ...], name: str
) -> list[Tensor]:
    """Return the outputs of a network in training; refuse a network without trainable outputs."""
    if not any(value.requires_grad for value in module.parameters()):
        raise UsageError(f"{name}: the network has no parameters that training could change")
    module.train()
    with torch.enable_grad():
        answers = all_outputs_of(module, _copied(inputs))
    _check_output(answers[0], shape, name)
    if not answers[0].requires_grad:
        raise UsageError(
            f"{name}: the network's output depends on none of its parameters (it is detached, or "
            "computed under torch.no_grad): nothing could be trained"
        )
    return answers


def _check_output(output: Any, expected: tuple[int, ...], name: str) -> None:
    shape = tuple(getattr(output, "shape", ()))
    if not isinstance(output, Tensor) or shape != expected:
        value = f"shape {shape}" if isinstance(output, Tensor) else f"{output!r:.60}"
        rows, *tokens, outputs = expected
        of_tokens = f"of {tokens[0]} tokens with {outputs} tags" if tokens else ""
        raise UsageError(
            f"{name}: the network returns {value}; {rows} rows "
            f"{of_tokens or f'of {outputs} outputs'} need shape {expected}. If it returns several "
            "outputs, the one named logits, or the first, is used"
        )
    if not output.is_floating_point():
        raise UsageError(f"{name}: the network returns {output.dtype}; logits are real numbers")


def _check_reloads(again: Callable[[], nn.Module], inputs: Mapping[str, Tensor], name: str) -> None:
    """Save the weights, load them into a newly built network, and compare the outputs."""
    fresh = again()
    if _depth(fresh) > _MAX_DEPTH:
        raise UsageError(f"{name}: its modules are nested over {_MAX_DEPTH} deep; flatten them")
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
        saved, loaded = (output_of(network.eval(), inputs) for network in (source, fresh))
    if not torch.allclose(saved, loaded, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True):
        raise UsageError(
            f"{name}: built again with the same weights, the network's outputs differ: it has "
            "numbers that are neither parameters nor buffers (register_buffer saves them)"
        )


def _copied(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in inputs.items()}


def _rows_of(inputs: Mapping[str, Tensor]) -> int:
    return len(next(iter(inputs.values())))


def _depth(module: nn.Module) -> int:
    return max(len(path.split(".")) for path, _ in module.named_modules())
