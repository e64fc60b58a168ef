"""Find out what a model can be compressed with: each technique is tried on a copy of it."""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from bmc import artifact, console, processor, targets
from bmc.choices import Among, Between
from bmc.contracts import families
from bmc.contracts.targets import format_of
from bmc.contracts.techniques import techniques
from bmc.data import Dataset, Examples
from bmc.errors import SettingError, StorageError, reason_of
from bmc.export import ExportOptions
from bmc.export.source import Source
from bmc.inference.form import become_inference_form, is_quantized
from bmc.inference.layers import called_layers_with_weights
from bmc.inference.quantized_form import stored_bytes
from bmc.inspect.collect import TOKENS, costs_at
from bmc.model import AppliedStep, Model, Step, Work
from bmc.quantization.weight_bits import WEIGHT_BITS
from bmc.search.objective import FAILURES
from bmc.search.space import RATIO, Option, Space
from bmc.settings import described
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for
from bmc.workflows.options import Quantization
from bmc.workflows.tuning import Distillation
from bmc.writing import scratch

_ROWS = 8  # of the training and validation rows: enough to see shapes change
_NOT_SMALLER = "it makes this model neither smaller nor cheaper"
_STRUCTURAL = ("prune", "share")
_BISECTIONS = 4  # of half a range, for the ratios that are possible
_USUAL = Quantization().method  # comes first among the first trials


@dataclass(frozen=True)
class _Probe:
    """The model that techniques are tried on.

    Args:
        folder: the model directory.
        model: the model.
        work: a few of its rows; nothing is trained.
        target: the target that has to run the result.
    """

    folder: Path
    model: Model
    work: Work
    target: str

    @cached_property
    def cost(self) -> tuple[float, float]:
        """What the model takes."""
        return _cost(self.model)

    def refusal(self, verb: str, name: str, settings: Mapping[str, Any]) -> str:
        """Apply a technique to a copy; return why it is of no use, or "" where it is."""
        copied = replace(
            self.model, module=copy.deepcopy(self.model.module), steps=list(self.model.steps)
        )
        try:
            step: Step = techniques(verb).load(name).step(**settings)
            with console.muted():
                record = step.apply(copied, self.work)
            copied.module.cpu().eval()
            copied.steps.append(AppliedStep(f"{verb}/{name}", {}, record, 0, 0.0))
            with scratch() as folder:
                data, options = self.work.data, ExportOptions()
                Source(self.folder, copied, data, options, folder).check(self.target)
            after = _cost(copied)
        except StorageError:
            raise  # a full disk says nothing about the technique
        except FAILURES as error:
            return reason_of(error)
        if not record or all(now >= then for now, then in zip(after, self.cost, strict=True)):
            return _NOT_SMALLER
        return ""


def space_of(folder: Path, data: Dataset, target: str) -> Space:
    """Return what a model can be compressed with for a target.

    Every technique of bmc and of installed plug-ins is tried on a copy of the model and a few rows:
    with its defaults, and with the ends of its ranges where the defaults change too little. It
    belongs to the space if it can be applied, if it makes the model smaller or cheaper, and if the
    target can run the result. Students are those of the model's family, and smaller networks of the
    same family. What is tried for a setting stands at the setting, in the technique's or the
    family's own file.

    Args:
        folder: the model directory.
        data: the data of the model; its test split is not read.
        target: name of the target.
    """
    model = artifact.load(folder)
    with scratch() as checkpoints:
        probe = _Probe(folder, model, _work_of(data, checkpoints), target)
        left_out: dict[str, str] = {}
        structural = tuple(_options(probe, _STRUCTURAL, left_out))
        quantizations = _options(probe, ("quantize",), left_out)
        quantizations = sorted(quantizations, key=lambda option: option.name != _USUAL)
        groups = _in_float(probe, quantizations)
    students = _students(model, data)
    return Space(students, structural, tuple(quantizations), groups, left_out)


def _options(probe: _Probe, verbs: Sequence[str], left_out: dict[str, str]) -> list[Option]:
    """Return the techniques that are of use; add the others to `left_out`, with the reason."""
    found = []
    for verb in verbs:
        for name in techniques(verb).usable():
            kind: Any = techniques(verb).load(name).step
            ranges, fixed = _ranges(kind), _fixed(kind, probe.target)
            refusal = probe.refusal(verb, name, fixed)
            if refusal == _NOT_SMALLER:  # with its defaults, which may be too gentle
                tried = (probe.refusal(verb, name, {**fixed, **end}) for end in _ends(ranges))
                refusal = next((each for each in tried if not each), refusal)
            if refusal:
                left_out[f"{verb}/{name}"] = refusal
                continue
            whole, names = _whole(kind), {field.name for field in fields(kind)}
            if RATIO not in whole:
                ranges = _possible(probe, verb, name, fixed, ranges)
            found.append(Option(verb, name, ranges, whole, "in_float" in names, fixed))
    return found


def _ranges(kind: Any) -> dict[str, Between | Among]:
    """Return what is tried for each setting of a settings class."""
    return {
        field.name: field.metadata["search"] for field in fields(kind) if "search" in field.metadata
    }


def _possible(
    probe: _Probe,
    verb: str,
    name: str,
    fixed: Mapping[str, Any],
    ranges: Mapping[str, Between | Among],
) -> dict[str, Between | Among]:
    """Return ranges whose ratio the model allows: some of its layers may have to stay, or be whole.

    The ends are found by bisection, between a ratio that can be applied and one that cannot.
    """
    ratios = ranges.get(RATIO)
    if not isinstance(ratios, Between):
        return dict(ranges)

    def is_possible(ratio: float) -> bool:
        return not probe.refusal(verb, name, {**fixed, RATIO: ratio})

    middle = (ratios.low + ratios.high) / 2
    if not is_possible(middle):
        return dict(ranges)
    low, high = (_end(is_possible, middle, end) for end in (ratios.low, ratios.high))
    return {**ranges, RATIO: replace(ratios, low=low, high=high)} if low < high else dict(ranges)


def _end(is_possible: Callable[[float], bool], possible: float, end: float) -> float:
    """Return the value nearest to the end of a range that is possible, to a few percent."""
    if is_possible(end):
        return end
    for _ in range(_BISECTIONS):
        middle = round((possible + end) / 2, 3)
        if is_possible(middle):
            possible = middle
        else:
            end = middle
    return possible


def _fixed(kind: Any, target: str) -> dict[str, Any]:
    """Return the settings without which the target computes something else here than PyTorch."""
    has_bits = any(field.name == "weight_bits" for field in fields(kind))
    bits = weight_bits_for(target)
    return {"weight_bits": bits} if has_bits and bits != WEIGHT_BITS[0] else {}


def weight_bits_for(target: str) -> int:
    """Return the bits of weights that a target computes exactly on this machine: 8, or 7.

    Args:
        target: name of the target.
    """
    computes_int8 = not format_of(target).is_reference
    on_cpu = "CPU" in targets.load(target).available().devices
    return WEIGHT_BITS[computes_int8 and on_cpu and processor.saturates_int8()]


def _ends(ranges: Mapping[str, Between | Among]) -> list[dict[str, Any]]:
    """Return settings at the ends of each range, the other ones at their defaults."""
    return [
        {name: value}
        for name, of in ranges.items()
        for value in ((of.low, of.high) if isinstance(of, Between) else of.values)
    ]


def _whole(kind: Any) -> frozenset[str]:
    return frozenset(name for name, setting in described(kind).items() if setting.kind is int)


def _students(model: Model, data: Dataset) -> tuple[Option, ...]:
    """Return the students of a model: its family's, and its own network with fewer units."""
    if not model.has_labels:
        return ()
    family = families.family(model.family)
    of_distillation = _ranges(Distillation) if data.kind == "text" else {}
    found = []
    for owner in families.families().values():
        for name, settings in owner.students.items():
            if data.kind in owner.takes and (owner is family or data.kind == "text"):
                kind = type(settings)
                ranges = {**of_distillation, **_ranges(kind)} if owner is family else _ranges(kind)
                found.append(Option("distill", name, ranges, _whole(kind)))
    name = str(model.origin.get("baseline", ""))
    narrower = _ranges(family.settings)
    if name in family.baselines and narrower and data.kind in family.takes:
        found.append(Option("distill", name, narrower, _whole(family.settings)))
    return tuple(found)


def _in_float(probe: _Probe, quantizations: Sequence[Option]) -> dict[str, tuple[str, ...]]:
    """Return groups of layers that may stay in float, by name: the outputs, the embeddings."""
    option = next((option for option in quantizations if option.in_float), None)
    if option is None:
        return {}
    parts = families.network(probe.model.family).parts(probe.model.module)
    copied = replace(probe.model, module=copy.deepcopy(probe.model.module))
    become_inference_form(copied)
    layers = called_layers_with_weights(copied)
    paths = {"outputs": parts.outputs, "embeddings": parts.embeddings}
    groups = {
        name: tuple(path for path in of if fnmatch.filter(layers, path))
        for name, of in paths.items()
    }
    return {name: of for name, of in groups.items() if of and len(of) < len(layers)}


def _cost(model: Model) -> tuple[float, float]:
    """Return the stored bytes and the multiply-accumulates of a row."""
    costs = costs_at(model, TOKENS, runs=1)
    held = stored_bytes(model.module) if is_quantized(model.module) else costs.bytes
    return float(held), float(costs.macs)


def _work_of(data: Dataset, checkpoints: Path) -> Work:
    """Return a few rows, on which nothing is trained."""
    few = replace(
        data,
        train=_first(data.train),
        validation=_first(data.validation),
        test=Examples((), ()),
    )
    settings = TrainingSettings(epochs=1, precision="fp32", device="cpu")
    work = work_for(few, (), settings, checkpoints, checkpoints, _refuse, "probe")

    def fit(model: Model, *args: Any, **kwargs: Any) -> dict[str, float]:
        return {}

    return replace(work, fit=fit)


def _first(examples: Examples) -> Examples:
    return Examples(examples.rows[:_ROWS], examples.labels[:_ROWS])


def _refuse(reference: str) -> Model:
    raise SettingError(f"{reference} is needed, and a probe loads no other model")
