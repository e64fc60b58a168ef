"""Export a model to targets, and check that the bundles' outputs match PyTorch's."""

from __future__ import annotations

from collections.abc import Sequence

from bmc import console, workspace
from bmc.contracts.targets import TARGETS, format_of
from bmc.contracts.tasks import TENSORS
from bmc.errors import UsageError
from bmc.export import ExportOptions, flow
from bmc.export.rejecting import refuse_rejecting
from bmc.export.source import source_of
from bmc.workflows import onnx_files
from bmc.workflows.bundles import Exported, check_targets, exported, outputs_for, write_each
from bmc.workflows.encoder_folders import as_model, onnx_file, texts_of
from bmc.workflows.lineage import data_of
from bmc.workflows.onnx_samples import SamplesInMemory
from bmc.workflows.options import SampledFiles


def export(
    reference: str | None,
    targets: Sequence[str],
    options: ExportOptions = ExportOptions(),
    files: SampledFiles = SampledFiles(),
    arrays: SamplesInMemory | None = None,
) -> Exported:
    """Write a bundle for each target, compare its outputs with PyTorch's, and score it.

    The outputs of an ONNX file's bundle are compared with those of the file, on samples.

    Args:
        reference: a model directory, or a model's name in the workspace, the folder of a sentence
            encoder, or an ONNX file; the newest model when None.
        targets: names of targets.
        options: settings of the export.
        files: present location of the model's data, or the texts of a sentence encoder, samples of
            an ONNX file, and the output folder for a single target; the default is MODEL-TARGET in
            the workspace.
        arrays: samples of an ONNX file in memory, in place of a path.

    Raises:
        UnknownError: there is no such model or target.
        UsageError: a target cannot execute the model, or one output is named for several targets.
        GateError: a bundle's outputs differ too much from PyTorch's, or it is slower than in fp32;
            the bundle is kept as NAME.failed.
    """
    check_targets(targets, files.output)
    _refuse_mobile(targets, options)
    has_samples = files.samples is not None or files.random_samples or arrays is not None
    path = onnx_file(reference, has_samples)
    if path is not None:
        refuse_rejecting(TENSORS, options)
        return exported(*onnx_files.export_file(path, targets, options, files, arrays))
    texts = texts_of(reference, files.data)
    if texts is not None:  # before a folder is read, which takes a while
        _refuse_options_of_files(reference, options, files)
    reference, files = as_model(reference, texts, files)
    folder = workspace.find(reference, "model")
    if reference is None:
        console.note(f"exporting {folder}, the newest model")
    name = workspace.slug(folder.name)
    outputs = outputs_for(targets, name, files.output, files.force, source=folder)
    _refuse_options_of_files(folder, options, files)
    data = data_of(folder, files.data)
    with source_of(folder, data, options) as source:
        refuse_rejecting(source.model.task, options)
        results = write_each(
            outputs,
            "exporting",
            source.check,
            lambda target, path: flow.export(source, target, path, files.force),
        )
    return exported(*results)


def _refuse_options_of_files(model: object, options: ExportOptions, files: SampledFiles) -> None:
    """Refuse options of ONNX files for a model directory, or the folder of a sentence encoder.

    Raises:
        UsageError: such an option is set.
    """
    files.refuse_samples(model)
    if options.batch is not None or options.simplify:
        raise UsageError(
            "--batch and --simplify are for ONNX files: bmc simplifies the graph of a model "
            "directory itself; leave them out"
        )


def _refuse_mobile(targets: Sequence[str], options: ExportOptions) -> None:
    """Refuse --mobile for targets whose runtime has no small build.

    Raises:
        UsageError: such a target is named.
    """
    others = [name for name in targets if options.mobile and not format_of(name).has_mobile]
    if others:
        able = [name for name in TARGETS.names() if format_of(name).has_mobile]
        raise UsageError(
            f"--mobile writes a format of {' and '.join(able)}, and {' and '.join(others)} has "
            f"none: --target {','.join(able)}, or leave --mobile out"
        )
