"""Which code, of bmc and of other packages, the result of a verb depends on."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from bmc import __version__
from bmc.errors import MissingError

# Names below `bmc`: a package with everything in it, a module, or modules by a pattern. What is not
# named (messages, files, reports, help) changes no number of a result; tests/recipes checks that
# every module that a verb imports is in one of the lists, or known to be without effect.
_MODELS = (
    *("assets", "contracts", "data", "families", "inference", "inputs", "models", "objectives"),
    *("structure", "tasks", "training"),
    *("arrays.py", "artifact.py", "building.py", "data_files.py", "description.py", "folds.py"),
    *("label_names.py", "long_text.py", "memory.py", "model.py", "precision.py", "processes.py"),
    *("predictions.py", "spaced_words.py", "split.py"),
    *("stored_rows.py", "tag_schemes.py", "tag_sequences.py", "weights_header.py"),
    *("measure/custom.py", "measure/frechet.py", "measure/*scores.py", "measure/statistics.py"),
    *("workflows/baselines.py", "workflows/data.py", "workflows/scoring.py"),
    *("workflows/settings.py", "workflows/tuning.py", "workflows/vectors.py"),
)
_TAUGHT = (
    *("compress/distill", "workflows/teachers.py", "workflows/transfer.py", "workflows/lineage.py"),
)
_COMPRESSED = (
    *_MODELS,
    *_TAUGHT,
    *("inspect/*.py", "quantization", "workflows/compress.py", "workflows/encoder_folders.py"),
    "workflows/sizes.py",
)
_BUNDLES = (
    *("bundle_formats", "export", "onnx_models", "quantization", "targets"),
    *("batching.py", "bundle.py", "golden.py", "manifest.py", "model_outputs.py"),
    *(
        "onnx_files.py",
        "pipeline.py",
        "predicting.py",
        "raw_rows.py",
        "sessions.py",
        "vector_precision.py",
        "measure/rejection.py",
        "inspect/*.py",
    ),
    *("workflows/encoder_folders.py", "workflows/lineage.py", "workflows/export.py"),
    *("workflows/bundles.py", "workflows/bundle_lines.py"),
    "workflows/onnx_*.py",
)
_OF_VERB: Mapping[str, tuple[str, ...]] = {
    "train": (*_MODELS, "workflows/train.py", "workflows/lineage.py"),
    "distill": (
        *_MODELS,
        *_TAUGHT,
        *("compress/prune", "workflows/against_teacher.py", "workflows/distill.py"),
        *("workflows/lessons.py", "workflows/named_teachers.py", "workflows/preparation.py"),
        *("workflows/student_folders.py", "workflows/students.py"),
        *("batching.py", "bundle.py", "golden.py", "manifest.py", "model_outputs.py"),
        *("pipeline.py", "predicting.py", "raw_rows.py", "sessions.py"),
        "targets",  # a bundle may teach
    ),
    "prune": (
        *_COMPRESSED,
        *("compress/prune", "workflows/budgets.py", "workflows/prune.py"),
        "workflows/ratio_search.py",
    ),
    "share": (*_COMPRESSED, "compress/share", "workflows/share.py"),
    "quantize": (*_COMPRESSED, "compress/quantize", "workflows/quantize.py"),
    "export": (*_MODELS, *_BUNDLES),
}
_PACKAGES = ("torch", "numpy", "transformers", "tokenizers", "safetensors", "scikit-learn")
_OF_EXPORT = ("onnx", "onnxscript", "onnx-ir", "onnxruntime")
_OF_REFERENCE = {  # what reads data, or builds a network, that begins so
    "imagefolder": ("pillow",),
    "audiofolder": ("soundfile", "soxr"),
    "hf": ("datasets", "pillow"),
    "timm": ("timm",),
}
_OF_TARGET = {"openvino": ("openvino",), "tensorrt": ("tensorrt", "tensorrt-rtx")}


@functools.cache
def code_of(verb: str, exports: bool = False) -> str:
    """Return a hash of bmc's version, and of the source files that a verb's result depends on.

    An edit of such a file gives another hash; an edit of a report's template or a message does not.

    Args:
        verb: train, distill, prune, share, quantize or export.
        exports: whether it compresses an ONNX file, and writes a bundle.
    """
    lines = sorted(  # without the folder in which bmc is installed
        f"{path.parent.name}/{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in sources_of(verb, exports)
    )
    return hashlib.sha256("\n".join([__version__, *lines]).encode()).hexdigest()


def sources_of(verb: str, exports: bool = False) -> list[Path]:
    """Return the source files that a verb's result depends on; see `code_of`."""
    of_files = (*_BUNDLES, "compress/prune", "compress/share") if exports else ()
    patterns = dict.fromkeys([*_OF_VERB[verb], *(() if verb == "export" else of_files)])
    return sorted({path for pattern in patterns for path in _matching(pattern)})


def packages_of(
    verb: str, target: str = "", exports: bool = False, references: Iterable[str] = ()
) -> dict[str, str]:
    """Return the versions of the installed packages that change a verb's result.

    Builds of one version, such as torch's for processors and for CUDA, count as the same.

    Args:
        verb: name of the verb.
        target: target of an export.
        exports: whether it compresses an ONNX file.
        references: data and models that it reads, such as imagefolder:DIR and timm:NAME.
    """
    names = [*_PACKAGES, *(["torch-pruning"] if verb == "prune" else [])]
    names += [name for each in references for name in _OF_REFERENCE.get(each.partition(":")[0], ())]
    if exports or verb == "export":
        names += [*_OF_EXPORT, *_OF_TARGET.get(target, ())]
    versions = {name: _version(name) for name in names}
    return {name: version for name, version in versions.items() if version}


@functools.cache
def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return ""


def _matching(pattern: str) -> Iterator[Path]:
    """Yield the source files of a package, or those below `bmc` that a pattern names."""
    package, _, name = pattern.partition("/")
    if package.endswith(".py"):
        yield folder_of("") / package
    elif not name:
        yield from folder_of(package).rglob("*.py")
    elif name.endswith(".py"):
        yield from folder_of(package).glob(name)
    else:
        yield from (folder_of(package) / name).rglob("*.py")


@functools.cache
def code_of_package(module: str) -> str:
    """Return a hash of the source files of a plug-in's package; nothing of it is imported.

    Args:
        module: a module of the package.
    """
    name = module.partition(".")[0]
    spec = importlib.util.find_spec(name)
    folders = [Path(place) for place in (spec and spec.submodule_search_locations) or ()]
    files = [(path, folder) for folder in folders for path in folder.rglob("*.py")]
    if spec is not None and not folders and spec.origin:
        files = [(Path(spec.origin), Path(spec.origin).parent)]
    lines = sorted(
        f"{path.relative_to(folder).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path, folder in files
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@functools.cache
def folder_of(package: str) -> Path:
    """Return the folder of a package of bmc; some are installed outside the folder bmc."""
    spec = importlib.util.find_spec(f"bmc.{package}" if package else "bmc")
    if spec is None or not spec.submodule_search_locations:
        raise MissingError(f"bmc.{package} is not installed: pip install 'bmc-toolkit[train]'")
    return Path(next(iter(spec.submodule_search_locations)))
