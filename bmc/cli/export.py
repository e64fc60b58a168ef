"""bmc export"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bmc import console, plugins, workspace
from bmc.bundle import Bundle
from bmc.cli import _shown as showing
from bmc.cli._common import Answer, Writing
from bmc.errors import BmcError, GateError, UsageError, unknown
from bmc.export import ExportOptions
from bmc.export import _flow as flow
from bmc.export._source import source_of
from bmc.measure.scores import Interval
from bmc.measure.shown import megabytes, with_interval
from bmc.workflows.lineage import data_of
from bmc.workflows.outputs import refuse_output


def export(
    model: str | None = None,
    *,
    target: tuple[str, ...],
    data: str | None = None,
    opset: int | None = None,
    max_batch: int = 16,
    allow_slower: bool = False,
    common: Writing = Writing(),  # noqa: B008  frozen
) -> Answer:
    """Turn a model into a bundle for a target, and prove that it answers the same.

    The bundle answers the whole held-out test split; its logits are held against PyTorch's, and
    its scores are computed from them. Out of limits, the exit code is 1 and the bundle is kept as
    NAME.failed.

    Args:
        model: a model directory, or its name in the workspace; the newest when left out.
        target: onnx, openvino, tensorrt or pytorch; name several, or separate them with commas.
        data: the data that the model was trained on, if it is not where it was.
        opset: version of the ONNX operators, 18 to 23; left out, 18, or 23 for ONNX Runtime where
            the model has attention, which is one operator then.
        max_batch: rows that a TensorRT engine is built for at most.
        allow_slower: keep a quantized bundle that is slower than its fp32 export; else it is
            exit 1, and kept as NAME.failed. Methods for size (weights, fp16, bf16) need it not.
    """
    common.begin()
    options = ExportOptions(opset, max_batch, allow_slower)
    wanted = [name.strip() for entry in target for name in entry.split(",") if name.strip()]
    known = plugins.names("bmc.targets")
    if not wanted:
        raise UsageError(f"--target names none of {', '.join(known)}")
    for name in wanted:
        if name not in known:
            raise unknown("target", name, known)
    if common.output and len(wanted) > 1:
        raise UsageError(f"--output names one bundle, but there are {len(wanted)} targets")
    folder = workspace.find(model, "model") if model else workspace.newest("model")
    if not model:
        console.note(f"exporting {folder}, the newest model")
    outputs = {
        name: common.output or workspace.root() / f"{workspace.slug(folder.name)}-{name}"
        for name in wanted
    }
    for name, output in outputs.items():
        plugins.load("bmc.export", name, "target")
        refuse_output(output, common.force, source=folder)
    loaded = data_of(folder, data)
    made: list[Bundle] = []
    failures: list[GateError] = []
    with source_of(folder, loaded, options) as source:
        for name in outputs:
            source.check(name)  # before the first of several is made
        for name, output in outputs.items():
            console.note(f"{name}: exporting")
            try:
                made.append(flow.export(source, name, output, common.force))
            except GateError as error:
                failures.append(error)
            except BmcError:
                _say_kept(made, failures)
                raise
    if failures:
        _say_kept(made, ())
        raise GateError("; ".join(str(failure) for failure in failures))
    return Answer(
        {"bundles": [_facts(bundle) for bundle in made]},
        (*(shown for bundle in made for shown in _shown(bundle, made[0])), _next(made[-1])),
    )


def _say_kept(made: Sequence[Bundle], failures: Sequence[GateError]) -> None:
    """Say what was written, and what failed a gate, before a command ends without a result."""
    for bundle in made:
        console.note(_line(bundle))
    for failure in failures:
        console.note(str(failure))


def _shown(bundle: Bundle, first: Bundle) -> tuple[object, ...]:
    """Return a bundle's line, and its scores by class where they are not the first bundle's."""
    found, before = _scores(bundle), _scores(first)
    if bundle is not first and found.get("confusion") == before.get("confusion"):
        return (_line(bundle),)
    return (_line(bundle), *showing.by_class(found, bundle.manifest.labels, "test"))


def _scores(bundle: Bundle) -> Mapping[str, Any]:
    """Return a bundle's scores, or those of the ONNX file that an engine was built from."""
    found: Mapping[str, Any] = (
        bundle.manifest.scores or bundle.manifest.build["scores_of_the_onnx_file"]
    )
    return found


def _facts(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "output": str(bundle.path),
        "target": manifest.target,
        "bytes": bundle.model_size(),
        "parity": manifest.parity,
        "scores": manifest.scores,
        "build": manifest.build,
    }


def _line(bundle: Bundle) -> str:
    manifest = bundle.manifest
    own = _scores(bundle)
    whose = "" if manifest.scores else " of its ONNX file; the engine was built, not run here"
    agreement = manifest.parity["agreement"]
    alike = "" if agreement is None else f"{agreement:.2%} answered as in PyTorch, "
    return (
        f"wrote {bundle.path}: {megabytes(bundle.model_size())}{_score(own)}{whose} "
        f"({own['rows']} rows; {alike}"
        f"largest change of an output {manifest.parity['max_error']:.1g}"
        f"{_over_fp32(manifest.build)})"
    )


def _over_fp32(build: Mapping[str, Any]) -> str:
    found = build.get("over_fp32")
    if not found:
        return ""
    return f"; {with_interval(Interval(**found))} times as fast as in fp32"


def _score(own: Mapping[str, Any]) -> str:
    """Show accuracy, or R2 of a regression, with its interval; nothing for a generator."""
    for key, name in (("accuracy", "accuracy"), ("r2", "R2")):
        if key in own:
            return f", test {name} {with_interval(Interval(**own[key]))}"
    return ""


def _next(bundle: Bundle) -> str:
    kind = bundle.manifest.preprocessing.get("kind")
    rows = {"image": "IMAGE.png", "series": "SERIES.npy", "latent": "1 2 3 --images PICTURES"}
    pair = " --pair 'a fine one'" if bundle.manifest.preprocessing.get("columns") == 2 else ""
    row = rows.get(str(kind), f"'what a film'{pair}")
    return f"next: bmc predict {bundle.path} {row}    or: bmc report"
