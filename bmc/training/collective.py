"""What several processes exchange while they train one model, with torch.distributed.

Every process has the whole batch and computes its share of the rows. The outputs of all shares are
gathered, and each process computes the loss of the whole batch: it is that of one process, whatever
it is a mean over. `gather` multiplies the gradients of a share by the number of processes, and
`average_gradients` divides by it, so parameters before and after `gather` get the gradients that
one process computes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from bmc import processes
from bmc.errors import ProcessError, SettingError, reason_of

TIMEOUT = "BMC_PROCESS_TIMEOUT"
"""Environment variable: seconds to wait for another process."""
_SECONDS = 600.0
_BUCKET = 2**22  # numbers that are summed in one message, 16 MB in fp32
_Value = TypeVar("_Value")


def own_share(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the inputs of the rows that this process computes.

    Args:
        inputs: a network's arguments by name, (rows, ...).
    """
    if processes.count() == 1:
        return dict(inputs)
    return {name: value[processes.share(len(value))] for name, value in inputs.items()}


def gather(part: Tensor, rows: int) -> Tensor:
    """Return the values of a whole batch, of which each process has computed its share of the rows.

    Args:
        part: values of this process's rows, (own rows, ...); the further sizes are the same in all
            processes.
        rows: number of rows in the batch.
    """
    if not processes.is_divided(rows):
        return part
    if part.dtype == torch.bool:
        return gather(part.to(torch.uint8), rows).bool()
    return _Gather.apply(part, rows)  # type: ignore[no-any-return, no-untyped-call]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor, rows: int) -> Tensor:
        ctx.rows = rows
        sizes = [share.stop - share.start for share in processes.shares(rows)]
        missing = max(sizes) - len(part)
        padded = torch.cat([part, part.new_zeros(missing, *part.shape[1:])]) if missing else part
        padded = padded.contiguous()
        parts = [torch.empty_like(padded) for _ in sizes]
        with _talking():
            dist.all_gather(parts, padded)
        return torch.cat([each[:size] for each, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0][processes.share(ctx.rows)] * processes.count(), None


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Replace each gradient by its mean over all processes; nothing changes in a single process.

    A parameter that has a gradient in some process gets one in all.
    """
    if processes.count() == 1:
        return
    has_gradient = torch.tensor([value.grad is not None for value in parameters], dtype=torch.uint8)
    with _talking():
        dist.all_reduce(has_gradient, dist.ReduceOp.MAX)
    gradients = []
    for parameter, is_needed in zip(parameters, has_gradient.tolist(), strict=True):
        if is_needed and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        if parameter.grad is not None:
            gradients.append(parameter.grad)
    underway: _Sum | None = None  # one bucket is sent while the next is filled
    for bucket in _buckets(gradients):
        started = _Sum(bucket)
        if underway:
            underway.finish()
        underway = started
    if underway:
        underway.finish()


class _Sum:
    """The sum of some gradients over all processes, which has been started.

    A gradient that is alone is summed where it lies.
    """

    def __init__(self, gradients: Sequence[Tensor]) -> None:
        self._gradients = gradients
        only = gradients[0] if len(gradients) == 1 and gradients[0].is_contiguous() else None
        parts = [gradient.reshape(-1) for gradient in gradients]
        self._flat = torch.cat(parts) if only is None else only.view(-1)
        with _talking():
            self._sent = dist.all_reduce(self._flat, async_op=True)

    def finish(self) -> None:
        """Wait for the sum, and replace each gradient by its mean."""
        with _talking():
            self._sent.wait()
        self._flat /= processes.count()
        parts = torch.split(self._flat, [gradient.numel() for gradient in self._gradients])
        for gradient, part in zip(self._gradients, parts, strict=True):
            if part.data_ptr() != gradient.data_ptr():
                gradient.copy_(part.view_as(gradient))


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Yield gradients of one type in groups of about `_BUCKET` numbers."""
    bucket: list[Tensor] = []
    for gradient in gradients:
        if bucket and (
            gradient.dtype != bucket[0].dtype
            or sum(each.numel() for each in bucket) + gradient.numel() > _BUCKET
        ):
            yield bucket
            bucket = []
        bucket.append(gradient)
    if bucket:
        yield bucket


def sum_tensor(values: Tensor) -> None:
    """Replace a tensor by its sum over all processes."""
    if processes.count() > 1:
        with _talking():
            dist.all_reduce(values)


def sum_array(values: NDArray[np.float32]) -> None:
    """Replace an array by its sum over all processes."""
    sum_tensor(torch.from_numpy(values))


def copy_from_first(tensors: Sequence[Tensor]) -> None:
    """Give all processes the values that tensors have in the first."""
    for tensor in tensors if processes.count() > 1 else ():
        with _talking():
            whole = tensor.detach().contiguous()
            dist.broadcast(whole, 0)
        if whole.data_ptr() != tensor.data_ptr():
            tensor.detach().copy_(whole)


def from_first(compute: Callable[[], _Value]) -> _Value:
    """Return what a function returns in the first process; it is not called in the others."""
    if processes.count() == 1:
        return compute()
    values: list[Any] = [compute() if processes.is_first() else None]
    with _talking():
        dist.broadcast_object_list(values, 0)
    return values[0]  # type: ignore[no-any-return]


def agree(identity: str) -> None:
    """Check that all processes are about to train the same.

    Args:
        identity: hash of everything that the training depends on.

    Raises:
        ProcessError: this process would train something else than the first.
    """
    if from_first(lambda: identity) != identity:
        raise ProcessError(
            f"process {processes.number()} would train something else than process 0: give all "
            "processes the same command, data and versions"
        )


def wait() -> None:
    """Wait until all processes have come here."""
    from_first(lambda: None)


@contextmanager
def own_randomness(*of: object) -> Iterator[None]:
    """Give each process random numbers of its own in the block, for dropout; then go on as before.

    In a single process nothing changes.

    Args:
        of: what the numbers depend on besides the process, such as seed and step.
    """
    if processes.count() == 1:
        yield
        return
    digest = hashlib.sha256(f"{of} {processes.number()}".encode()).digest()
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(int.from_bytes(digest[:7]))
        yield


def leave() -> None:
    """End the connections of this process to the others, if there are any."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def _talking() -> Iterator[None]:
    """Connect to the other processes first; say in the field's words when they do not answer."""
    seconds = _timeout()
    try:
        if not dist.is_initialized():
            dist.init_process_group(_backend(), timeout=timedelta(seconds=seconds))
        yield
    except (RuntimeError, ValueError) as error:
        reason = reason_of(error).rpartition("] ")[2][:100]  # without Gloo's file and line
        raise ProcessError(
            f"another of the {processes.count()} processes has ended, or did not answer within "
            f"{seconds:g} s ({TIMEOUT}): {reason}. The same command resumes from the last "
            "checkpoint"
        ) from error


def _backend() -> str:
    """Return the libraries that send tensors, by their device."""
    return "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"


def _timeout() -> float:
    text = os.environ.get(TIMEOUT, "")
    try:
        seconds = float(text or _SECONDS)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise SettingError(f"{TIMEOUT} is {text!r}; it must be a number of seconds above 0")
    return seconds
