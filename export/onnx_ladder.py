"""The order in which layers of a quantized ONNX file return to float."""

from __future__ import annotations

from bmc import console
from bmc.contracts.targets import dialect_of
from bmc.errors import ArtifactError, DataError
from bmc.export.onnx_sensitivity import output_errors
from bmc.export.onnx_source import QuantizedSource

Groups = list[list[str]]
"""Names of layers; those of a group read the same tensor."""


def layers_by_input(source: QuantizedSource) -> Groups:
    """Return the layers in 8 bits, those that read one tensor together, the worst input first.

    They are as accurate as each other, and the tensor has 8 bits as long as one of them has.
    """
    groups: dict[str, list[str]] = {}
    for name in source.quantized.layers:
        if name not in source.in_float:
            groups.setdefault(source.quantized.inputs[name], []).append(name)
    return list(groups.values())


def most_harmful_first(source: QuantizedSource, groups: Groups, target: str) -> Groups:
    """Return groups of layers by the error of the outputs when a group alone has 8 bits.

    Where that cannot be measured, they stay in the order of the error of what they read.

    Args:
        source: the quantized source.
        groups: the groups.
        target: name of the target.
    """
    dialect = dialect_of(target)
    if dialect is None or len(groups) < 2:
        return groups
    source.reference.release()
    try:
        errors = output_errors(source.quantized, groups, source.samples.calls, dialect)
    except (ArtifactError, DataError) as error:
        console.note(f"layers are ranked by what they read, not by the outputs: {error}")
        return groups
    order = sorted(range(len(groups)), key=lambda number: -errors[number])
    return [groups[number] for number in order]
