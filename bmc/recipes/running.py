"""Run one step of a plan in this process, by the workflow of its verb."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bmc import provenance, writing
from bmc.contracts.export_options import ExportOptions
from bmc.contracts.techniques import technique
from bmc.errors import unknown
from bmc.recipes.plan import Step
from bmc.recipes.verbs import TEACHER, Call, call_of, fields_of, teachers_of
from bmc.settings import described
from bmc.training.settings import TrainingSettings
from bmc.trust import check_trusted, named, names_of
from bmc.workflows.data import DataSource
from bmc.workflows.options import (
    Architecture,
    CompressedFiles,
    Output,
    OwnCode,
    Pruning,
    Quantization,
    QuantizedFiles,
    SampledFiles,
    Sharing,
)
from bmc.workflows.tuning import Distillation, Tuning

_OWN_CODE = "python:"


def run_step(step: Step, inputs: Mapping[str, Path], output: Path) -> Path:
    """Run one verb in this process, and write its model directory or bundle.

    A training that was killed resumes when the step is run again with the same output. A result
    that fails a gate is kept as OUTPUT.failed.

    Args:
        step: the step.
        inputs: model directory or bundle of each input of the step, by the argument of the verb.
        output: folder to write; it must not exist.

    Returns:
        `output`.

    Raises:
        BmcError: as the verb's workflow says; also that code of the user, which the step names, was
            not named on the command line.

    Example:
        >>> step = Step("small", "train", settings={"model": "mlp", "data": "digits", "epochs": 1})
        >>> run_step(step, {}, Path("small"))
    """
    call = call_of(step)
    refuse_untrusted(call)
    models = {**call.models, **{name: str(path) for name, path in inputs.items()}}
    shown = {**call.models, **{name: path.name for name, path in inputs.items()}}
    with writing.command(), provenance.command(command_of(call, shown)):
        _RUN[call.verb](call, models, output)
    return output


def check_step(step: Step) -> None:
    """Check everything of a step that can be checked before its inputs exist; this imports torch.

    Raises:
        BmcError: there is no such verb, technique, baseline or setting, or a value is wrong.
    """
    call = call_of(step)
    refuse_untrusted(call)
    from bmc.workflows import baselines, students  # noqa: PLC0415  imports torch
    from bmc.workflows.compress import settings_of  # noqa: PLC0415

    if call.verb == "train":
        reference = call.models.get("model", "")
        if reference:
            _refuse_unknown(call, baselines.choose(reference, {}).family.settings, reference)
            baselines.choose(reference, call.of(Architecture).by_name())
    elif call.verb == "distill" and "student" not in step.inputs:
        chosen = call.of(Distillation)
        student = students.choose(chosen.student, {})
        _refuse_unknown(call, type(student.options), chosen.student)
        students.choose(chosen.student, chosen.of_student())
    elif call.verb in ("prune", "share", "quantize"):
        method = _method(call)
        known = technique(f"{call.verb}/{method}").step
        _refuse_unknown(call, known, method)
        known(**settings_of(known, method, call.own(), _typed(call)))


def _typed(call: Call) -> dict[str, Any]:
    """Return the settings of a technique that its verb has as well, by name."""
    if call.verb == "prune":
        return {"ratio": call.of(Pruning).ratio}
    if call.verb == "quantize" and (call.of(Quantization).samples or "0").isdecimal():
        typed: dict[str, Any] = call.of(Quantization).typed()
        return typed
    return {}  # the samples of an ONNX file are no number


def _refuse_unknown(call: Call, kind: type, owner: str) -> None:
    """Refuse settings that neither a technique or network nor its verb has.

    Raises:
        UnknownError: there is such a setting; the message has the nearest of all names.
    """
    settings = described(kind)
    names = {*settings, *(setting.alias for setting in settings.values())}
    for name in call.own():
        if name.replace("-", "_") not in names:
            shown = [*settings, *fields_of(call.verb)]
            raise unknown(f"setting of {call.verb} {owner}", name, shown)


def refuse_untrusted(call: Call) -> None:
    """Refuse code of the user that was not named on the command line; a recipe is a file.

    Raises:
        ArtifactError: such code is named; nothing of it was imported.
    """
    names = names_of(call.of(OwnCode).code)
    names += [named(name) for name in call.models.values() if name.startswith(_OWN_CODE)]
    for name in names:
        check_trusted(name)


def command_of(call: Call, models: Mapping[str, str]) -> str:
    """Return the command line that does what a step does, for the record of its result.

    Args:
        call: the step's settings.
        models: the model that each argument names.
    """
    words = ["bmc", call.verb]
    if "model" in models:
        words.append(models["model"])
    teachers = ",".join(teachers_of(models).values())
    words += [f"--{TEACHER}", teachers] if teachers else []
    words += ["--student", models["student"]] if "student" in models else []
    words += ["--target", call.target] if call.target else []
    for kind, values in call.changes.items():
        known = described(kind)
        for name, value in values.items():
            if name not in models and value is not None:
                words += _as_options(name, value, known[name].has_names)
    return shlex.join(words)


def _as_options(name: str, value: Any, has_names: bool) -> list[str]:
    option = "--set" if name == "settings" else f"--{name.replace('_', '-')}"
    if has_names:
        return [word for key, of in value.items() for word in (option, f"{key}={_text(of)}")]
    if isinstance(value, bool):
        return [option] if value else [f"--no-{name.replace('_', '-')}"]
    if isinstance(value, tuple) and name != "augment":
        return [word for each in value for word in (option, _text(each))]
    return [option, _text(value)]


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _method(call: Call) -> str:
    return str(next(each.method for each in call.settings if hasattr(each, "method")))


def _tuning(call: Call, models: Mapping[str, str]) -> Tuning:
    tuning: Tuning = call.of(Tuning)
    return replace(tuning, teacher=models[TEACHER]) if TEACHER in models else tuning


def _train(call: Call, models: Mapping[str, str], output: Path) -> None:
    from bmc.workflows import train  # noqa: PLC0415  imports torch

    train.train(
        models["model"],
        call.of(DataSource),
        call.of(Architecture).by_name(),
        call.changes[TrainingSettings],
        Output(output),
    )


def _distill(call: Call, models: Mapping[str, str], output: Path) -> None:
    from bmc.workflows import distill  # noqa: PLC0415  imports torch

    teachers = list(teachers_of(models).values())
    settings = call.of(Distillation)
    if "student" in models:
        settings = replace(settings, student=models["student"])
    named_teachers = teachers[0] if len(teachers) == 1 else teachers
    distill.distill(named_teachers, call.of(DataSource), settings, Output(output))


def _prune(call: Call, models: Mapping[str, str], output: Path) -> None:
    from bmc.workflows import prune  # noqa: PLC0415  imports torch

    files = replace(call.of(CompressedFiles), output=output)
    prune.prune(models["model"], call.of(Pruning), _tuning(call, models), files)


def _share(call: Call, models: Mapping[str, str], output: Path) -> None:
    from bmc.workflows import share  # noqa: PLC0415  imports torch

    files = replace(call.of(CompressedFiles), output=output)
    share.share(models["model"], call.of(Sharing), _tuning(call, models), files)


def _quantize(call: Call, models: Mapping[str, str], output: Path) -> None:
    from bmc.workflows import quantize  # noqa: PLC0415  imports torch

    files = replace(call.of(QuantizedFiles), output=output)
    quantize.quantize(models["model"], call.of(Quantization), _tuning(call, models), files)


def _export(call: Call, models: Mapping[str, str], output: Path) -> None:
    from bmc.workflows import export  # noqa: PLC0415  imports torch

    files = replace(call.of(SampledFiles), output=output)
    export.export(models["model"], [call.target], call.of(ExportOptions), files)


_RUN = {
    "train": _train,
    "distill": _distill,
    "prune": _prune,
    "share": _share,
    "quantize": _quantize,
    "export": _export,
}
