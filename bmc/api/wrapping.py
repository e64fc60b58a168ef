"""A user's own network and data, in memory, as a model that every verb takes."""

from __future__ import annotations

import copy
import inspect
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bmc import artifact, console, memory, workspace
from bmc.api import words
from bmc.api._calls import Progress, call, path_of
from bmc.api.functions import Loss, custom_loss_of, custom_score_of
from bmc.api.handles import ModelHandle
from bmc.api.tables import columns_of, encoder_of, table_of
from bmc.contracts.tasks import EMBEDDING, TOKENS
from bmc.errors import BmcError, UsageError
from bmc.families.memory import Settings
from bmc.inputs import Encoder
from bmc.inputs.text import TextEncoder
from bmc.measure.custom import ScoreFunction
from bmc.memory import PREFIX
from bmc.model import Model
from bmc.models.memory import baseline
from bmc.training.custom import check_loss
from bmc.workflows import scoring
from bmc.workflows.data import DataSource, data_record
from bmc.workflows.outputs import refuse_output


def wrap(
    module: nn.Module,
    data: Any,
    *,
    name: str | None = None,
    inputs: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    label_column: str | None = None,
    columns: Sequence[str] | None = None,
    task: str = "classification",
    loss: Loss | None = None,
    score: ScoreFunction | None = None,
    tokenizer: Any = None,
    max_length: int = 128,
    output: str | Path | None = None,
    force: bool = False,
    verbose: bool = False,
    progress: Progress | None = None,
) -> ModelHandle:
    """Wrap a network of your own and its data, so that every verb works on them.

    The module is copied with its present weights; your module is not changed. The data is split
    into a training, a validation and a test part. The model directory and its bundles are written
    to disk. To load the model directory in another process, call `wrap` there first with the same
    arguments; a bundle needs no such call. A call with the network and data of the existing
    directory keeps the directory, so that a notebook's cell can be run again.

    Args:
        module: network of one or several input tensors (rows, ...), float32 or int64. It returns
            logits (rows, classes), of several labels a row (rows, labels), or values (rows, 1) in
            a regression. For words with tags it takes input_ids and attention_mask, int64 (rows,
            length), in this order, and returns logits (rows, length, tags).
        data: `(inputs, labels)`, where inputs is an array (rows, ...), a tuple of them, or a
            dictionary by name; a torch `Dataset` or `DataLoader`, whose items are tuples with the
            label last or dictionaries; a `datasets.Dataset`, a data frame, a dictionary of
            columns, or a table's file (.csv, .tsv, .jsonl, .json, .parquet). Words with tags are
            a file that `--task tokens` reads, the name of such a data set, `(words, tags)` with
            a list of each for every row, or columns named tokens and tags.
        name: name of the model; the class of the module when None. Where another network of this
            process has it, in another directory, a number follows: NAME-2.
        inputs: names of the inputs, in the order of `forward`'s arguments; the names of these
            arguments when None.
        labels: names of the classes, in the order of the outputs.
        label_column: name of the labels in dictionaries and tables; "label", "labels", "y" or
            "target" when None.
        columns: columns of a table that together are the only input (rows, columns), in order. When
            None, and no column has the input's name, all columns but the labels'.
        task: "classification", "multilabel" where labels are 0 or 1 (rows, labels) or lists of
            names, "tokens" where each word has a tag, or "regression" where labels are numbers.
        loss: loss function that replaces cross-entropy (squared error in a regression): a function
            or `nn.Module` of outputs (rows, classes) and labels (rows), int64, or of several labels
            (rows, labels), float32; in a regression of values (rows) and labels (rows), float32. It
            returns the mean over the rows. The loss of a teacher's logits is added to it.
        score: score function that chooses the best epoch and by which `max_drop` is measured,
            instead of accuracy (micro F1 of several labels, R2 in a regression). It takes the same
            arguments as `loss`, as numpy arrays, and returns a number; higher is better, and a
            point is 0.01. Models and bundles record the score under the function's name, with an
            interval.
        tokenizer: for words with tags, the tokenizer whose ids the network takes: a
            `tokenizers.Tokenizer`, a fast tokenizer of transformers, or a tokenizer.json's path.
        max_length: largest number of tokens of such a network; longer texts are read in
            overlapping windows.
        output: the model directory; NAME in the workspace when None.
        force: replace the output if it exists.
        verbose: write notes and progress to stderr.
        progress: function that is called with each note and step instead; see `bmc.Event`.

    Returns:
        a handle; `bmc.train(handle)` trains it, `bmc.quantize(handle)` and the other verbs compress
        and export it.

    Raises:
        DataError: the data is of another kind, is empty, or lacks inputs or labels.
        ModelCodeError: the module fails on rows of the data's shapes, or the loss or the score on
            its outputs.
        UsageError: the module's outputs do not fit the labels, or the module cannot be copied; or
            the score has the name of a score of bmc; or the task is that of sentence embeddings; or
            words with tags have no tokenizer, or an argument that is not for them.

    Example:
        >>> def recall_of_yes(logits, labels):
        ...     return (logits.argmax(axis=1) == 1)[labels == 1].mean()
        >>> model = bmc.wrap(network, (x, y), labels=["no", "yes"], score=recall_of_yes)
        >>> trained = bmc.train(model, epochs=5)
        >>> bundle = bmc.quantize(trained).to("onnx")
    """
    if not isinstance(module, nn.Module):
        raise UsageError(f"module is {type(module).__name__}; it must be an nn.Module")
    if task == EMBEDDING:
        raise UsageError(
            "bmc.wrap takes networks of classes or numbers; for sentence embeddings save the "
            'encoder as a Hugging Face folder: bmc.train(FOLDER, task="embedding")'
        )
    started = time.monotonic()
    name = workspace.slug(name or type(module).__name__)
    encoder: Encoder
    if task == TOKENS:
        words.refuse_unread(inputs=inputs, columns=columns, loss=loss, score=score)
        encoder = words.encoder_of(tokenizer, max_length)
        table = words.words_of(data, labels, label_column)
    elif tokenizer is not None:
        raise UsageError(f"tokenizer is for task='tokens', and the task is {task!r}: leave it out")
    else:
        read = columns_of(data, _names_of(module, inputs), label_column, columns)
        encoder, table = encoder_of(read), table_of(read, labels, task)
    path = (path_of(output) or workspace.root() / name).absolute()
    name = memory.name_for(name, path, _recorded_name(path))
    network = memory.Network(_copied(module), encoder, custom_loss_of(loss), custom_score_of(score))
    with call(verbose, progress), memory.kept(name, table, network, path):
        may_be_saved = not force and artifact.is_model_directory(path)
        if not may_be_saved:
            refuse_output(path, force)
        source = DataSource(data=f"{PREFIX}{name}", task=task)
        split = source.load()
        with _refusing_calls(module):
            model = baseline(f"{PREFIX}{name}", split, Settings())
        check_loss(model, split.train)
        model.scores = {"best_epoch": 0}
        scoring.score_validation(model, split.validation)
        model.data = data_record(split, source)
        if may_be_saved and _is_saved(model, path):
            console.note(f"{path} holds this network and data already")
            return ModelHandle(path)
        refuse_output(path, force)
        seconds = round(time.monotonic() - started, 1)
        model.origin = {"command": "wrap", "baseline": f"{PREFIX}{name}", "seconds": seconds}
        artifact.save(model, path, force)
        console.note(f"wrote {path}")
    return ModelHandle(path)


def _recorded_name(path: Path) -> str:
    """Return the name under which the network of a model directory was wrapped; "" for none."""
    if artifact.is_model_directory(path):
        with suppress(BmcError):  # of a damaged directory, `refuse_output` says that it exists
            return ModelHandle(path).baseline.removeprefix(PREFIX)
    return ""


def _is_saved(model: Model, path: Path) -> bool:
    """Return whether a model directory holds this model: its weights, inputs, data and scores."""
    try:
        saved = artifact.load(path)
    except BmcError:  # another network, or a damaged directory: `refuse_output` says that it exists
        return False
    before, now = saved.module.state_dict(), model.module.state_dict()
    return (
        saved.origin.get("command") == "wrap"
        and (saved.spec, saved.labels, saved.task) == (model.spec, model.labels, model.task)
        and saved.encoder.to_json() == model.encoder.to_json()
        and _tokenizer_of(saved) == _tokenizer_of(model)
        and json.dumps([saved.data, saved.scores]) == json.dumps([model.data, model.scores])
        and before.keys() == now.keys()
        and all(torch.equal(before[name], value) for name, value in now.items())
    )


def _tokenizer_of(model: Model) -> str:
    """Return the content of a model's tokenizer.json; "" where rows are arrays."""
    encoder = model.encoder
    return encoder.tokenizer.to_str() if isinstance(encoder, TextEncoder) else ""


def _names_of(module: nn.Module, inputs: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of a network's inputs, in the order of its arguments.

    Raises:
        UsageError: a name is none of an argument, or there is none.
    """
    names = tuple(inputs) if inputs else _arguments(module)
    if invalid_names := [name for name in names if not name.isidentifier() or name == "self"]:
        raise UsageError(
            f"an input is named {invalid_names[0]!r}; take a name that Python's arguments can have"
        )
    return names


def _copied(module: nn.Module) -> nn.Module:
    """Return a copy of a module on the CPU, without `torch.compile`.

    Raises:
        UsageError: the module cannot be copied.
    """
    module = getattr(module, "_orig_mod", module)  # of torch.compile
    try:
        return copy.deepcopy(module).cpu()
    except (RuntimeError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{type(module).__name__} cannot be copied ({error}); bmc works on copies"
        ) from error


@contextmanager
def _refusing_calls(module: nn.Module) -> Iterator[None]:
    """Refuse calls of the given network's own layers while its copy is run.

    A copy of a function has the variables of the original, so that a copied network that calls
    layers through a function calls those of the original, whatever happens to its own.

    Raises:
        UsageError: the copy called a layer of the original.
    """
    called: list[str] = []
    hooks = [
        part.register_forward_pre_hook(lambda *_, path=path: called.append(path))
        for path, part in module.named_modules()
        if not isinstance(part, torch.jit.ScriptModule)  # which takes no hooks, and no closures
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    if called:
        raise UsageError(
            f"a copy of the network calls {called[0] or 'the network'} of the original: it keeps "
            "its layers in a function, such as a lambda that was made in __init__; call them as "
            "attributes (self.layer) in forward"
        )


def _arguments(module: nn.Module) -> tuple[str, ...]:
    """Return the names of `forward`'s arguments that have no default."""
    parameters = inspect.signature(module.forward).parameters.values()
    fixed = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = tuple(
        parameter.name
        for parameter in parameters
        if parameter.kind in fixed and parameter.default is inspect.Parameter.empty
    )
    if not names:
        raise UsageError(
            f"{type(module).__name__}.forward names no inputs; name them with inputs=[...]"
        )
    return names
