"""bmc doctor"""

from __future__ import annotations

import importlib.util
import platform

from rich.table import Table

from bmc import __version__
from bmc.cli.options import Answer, Common
from bmc.errors import MissingError, PluginError

_NEEDED = {
    "train": ("torch", "transformers", "safetensors", "sklearn", "torch_pruning"),
    "export": ("torch", "onnx", "onnxscript", "onnx_ir"),
    "report": ("altair", "vl_convert", "jinja2"),
    "parquet": ("pyarrow",),
    "images": ("PIL",),
    "hub": ("datasets",),
    "timm": ("timm",),
}


_X86 = ("x86_64", "AMD64")
_VNNI = {"avx512_vnni", "avx_vnni"}
_WITHOUT_VNNI = (
    "no VNNI: ONNX Runtime cuts sums of 8 bits; bmc quantize --set weight_bits=7 avoids that"
)


def doctor(*, common: Common = Common()) -> Answer:
    """Say what works on this machine, and how to get the rest.

    Example:
        bmc doctor
        bmc doctor --json
    """
    from bmc import targets
    from bmc.contracts.data_sets import DATA_SETS
    from bmc.contracts.families import FAMILIES
    from bmc.contracts.targets import TARGETS
    from bmc.measure import machine

    common.begin()
    table = Table("what", "here", "note")
    found: dict[str, dict[str, object]] = {}
    for extra, packages in _NEEDED.items():
        missing = [name for name in packages if importlib.util.find_spec(name) is None]
        note = f"pip install 'bmc-toolkit[{extra}]' (lacks {', '.join(missing)})" if missing else ""
        found[extra] = {"works": not missing, "note": note}
        table.add_row(extra, "no" if missing else "yes", note)
    for name in TARGETS.names():
        try:
            here = targets.load(name).available()
        except (MissingError, PluginError) as error:
            found[f"target {name}"] = {"works": False, "note": str(error)}
            table.add_row(f"target {name}", "no", str(error).partition(": ")[2])
            continue
        except (ImportError, OSError) as error:  # installed, but its libraries do not load
            found[f"target {name}"] = {"works": False, "note": str(error)}
            table.add_row(f"target {name}", "no", str(error))
            continue
        note = here.note or f"runs on {', '.join(here.devices)}"
        found[f"target {name}"] = {
            "works": bool(here.devices),
            "version": here.version,
            "note": note,
        }
        state = "yes" if here.devices else "builds only"
        table.add_row(f"target {name}", state, f"{here.version}; {note}")
    for kind in (FAMILIES, DATA_SETS):
        for name, refusal in kind.refused().items():
            found[f"{kind.what} {name}"] = {"works": False, "note": str(refusal)}
            table.add_row(f"{kind.what} {name}", "no", str(refusal))
    about = machine.describe()
    slow = platform.machine() in _X86 and not _VNNI & set(about["instructions"])
    found["int8"] = {"works": True, "note": _WITHOUT_VNNI if slow else ""}
    if slow:
        table.add_row("int8", "yes", _WITHOUT_VNNI)
    instructions = ", ".join(about["instructions"]) or "none of the telling ones"
    return Answer(
        {"version": __version__, "machine": about, "found": found},
        (
            f"bmc {__version__}, Python {about['python']}, {about['system']}",
            f"{about['processor']}, {about['cores']} cores, {about['memory_gib']} GiB; "
            f"instructions: {instructions}",
            table,
        ),
    )
