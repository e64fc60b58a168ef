"""Handles of model directories and bundles: what the verbs return, and what is read from disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from bmc import bundle as bundle_files
from bmc import console, workspace
from bmc.api._calls import Progress, call
from bmc.api.wording import worded
from bmc.bundle import Bundle
from bmc.errors import ArtifactError
from bmc.files import size_of
from bmc.measure.shown import megabytes
from bmc.onnx_models import finding
from bmc.pipeline import Pipeline
from bmc.rendering.summaries import as_html, as_text, measured
from bmc.sessions import for_target
from bmc.targets import RuntimeOptions
from bmc.trust import names_of
from bmc.untrusted import read_json

if TYPE_CHECKING:
    from bmc.api.onnx import OnnxHandle
    from bmc.model import Model


@dataclass(frozen=True, repr=False)
class ModelHandle:
    """A model directory on disk. Two handles of one path are equal.

    Args:
        path: the model directory.
        code: module:function of yours that builds the model; it may run when the handle is used.

    Example:
        >>> model = bmc.train("mlp", data="digits")
        >>> model.scores["validation_accuracy"], model.labels
        >>> model.predict([image])
        >>> onnx, openvino = model.to("onnx", "openvino")
    """

    path: Path
    code: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", self.path.absolute())  # the working folder may change

    @property
    def scores(self) -> dict[str, Any]:
        """Scores of the validation rows, by name; "validation" holds all, with intervals."""
        scores: dict[str, Any] = self._recorded("scores", dict)
        return scores

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the outputs; empty in a regression."""
        return tuple(self._recorded("labels", list))

    @property
    def task(self) -> str:
        """What the model does: "classification", "multilabel", "tokens", "regression", ..."""
        return str(self._recorded("task", str))

    @property
    def data(self) -> dict[str, Any]:
        """Which data the model was trained on: reference, columns, fingerprint, rows."""
        data: dict[str, Any] = self._recorded("data", dict)
        return data

    @property
    def history(self) -> list[dict[str, float]]:
        """The epochs of the last training: number, training loss, validation score."""
        return list(self._recorded("origin", dict).get("history", []))

    @property
    def baseline(self) -> str:
        """What the model was trained from, such as "bert", or memory:NAME of a wrapped network."""
        return str(self._recorded("origin", dict).get("baseline", ""))

    @property
    def is_as_wrapped(self) -> bool:
        """Whether the network is as `bmc.wrap` took it: neither trained nor compressed since."""
        return self._recorded("origin", dict).get("command") == "wrap" and not self.steps

    @property
    def steps(self) -> tuple[str, ...]:
        """The compressions that made the model, in order, such as "quantize/static"."""
        return tuple(str(step.get("method")) for step in self._recorded("steps", list))

    def predict(self, rows: Any) -> Any:
        """Predict one row or a list of rows in PyTorch.

        Args:
            rows: one row of the kind that the model was trained on: a text (a tuple of two texts
                for a model of pairs, of words for a model that tags them), an image (a file, or
                uint8 (height, width[, channels])), a series (steps, channels), or a number that
                seeds a generator. A list holds several rows.

        Returns:
            a `Prediction` of a classifier, a tuple of them where a row has several labels, a tuple
            of `Span` where words have tags, a number of a regression, or an image of a generator; a
            list for a list of rows.

        Raises:
            DataError: a row is not of the kind that the model takes.
        """
        from bmc.workflows.scoring import predict_in_pytorch  # noqa: PLC0415  needs torch

        several = isinstance(rows, list)
        with call(False, None, self):
            predictions = predict_in_pytorch(self._loaded(), rows if several else [rows])
        return predictions if several else predictions[0]

    @overload
    def to(
        self,
        target: str,
        /,
        *,
        opset: int | None = None,
        max_batch: int = 16,
        allow_slower: bool = False,
        reject_below: float | None = None,
        reject_rate: float | None = None,
        accept_accuracy: float | None = None,
        mobile: bool = False,
        data: str | Path | None = None,
        output: str | Path | None = None,
        force: bool = False,
        verbose: bool = False,
        progress: Progress | None = None,
    ) -> BundleHandle: ...

    @overload
    def to(
        self,
        target: str,
        second: str,
        /,
        *more: str,
        opset: int | None = None,
        max_batch: int = 16,
        allow_slower: bool = False,
        reject_below: float | None = None,
        reject_rate: float | None = None,
        accept_accuracy: float | None = None,
        mobile: bool = False,
        data: str | Path | None = None,
        output: str | Path | None = None,
        force: bool = False,
        verbose: bool = False,
        progress: Progress | None = None,
    ) -> tuple[BundleHandle, ...]: ...

    def to(
        self,
        target: str,
        /,
        *more: str,
        opset: int | None = None,
        max_batch: int = 16,
        allow_slower: bool = False,
        reject_below: float | None = None,
        reject_rate: float | None = None,
        accept_accuracy: float | None = None,
        mobile: bool = False,
        data: str | Path | None = None,
        output: str | Path | None = None,
        force: bool = False,
        verbose: bool = False,
        progress: Progress | None = None,
    ) -> BundleHandle | tuple[BundleHandle, ...]:
        """Export the model; each bundle is scored on the test rows and compared with PyTorch.

        Args:
            target: "onnx", "openvino", "tensorrt" or "pytorch".
            more: further targets.
            opset: version of the ONNX operators, 18 to 23; chosen when None.
            max_batch: largest batch of a TensorRT engine, in rows.
            allow_slower: keep a quantized bundle that is slower than its fp32 export.
            reject_below: probability of the predicted class, 0 to 1, below which a row gets no
                label.
            reject_rate: share of the validation rows that get no label, in place of `reject_below`.
            accept_accuracy: accuracy of the validation rows that get a label, in place of
                `reject_below`.
            mobile: also write the model for ONNX Runtime Mobile ("onnx").
            data: present location of the model's data, if the data was moved.
            output: the bundle of a single target; MODEL-TARGET in the workspace when None.
            force: replace bundles that exist.
            verbose: write notes and progress to stderr.
            progress: function that is called with each note and step instead.

        Returns:
            a handle of the bundle; for several targets a tuple of handles, in the order of the
            targets.

        Raises:
            GateError: a bundle's outputs differ too much from PyTorch's; the bundle is kept as
                NAME.failed.
            MissingError: a target's package is not installed.
        """
        from bmc.api.exporting import export_handles  # noqa: PLC0415  needs torch

        with call(verbose, progress, self, alone="an export"):
            bundles = export_handles(
                self,
                (target, *more),
                opset=opset,
                max_batch=max_batch,
                allow_slower=allow_slower,
                reject_below=reject_below,
                reject_rate=reject_rate,
                accept_accuracy=accept_accuracy,
                mobile=mobile,
                data=data,
                output=output,
                force=force,
            )
        return bundles if more else bundles[0]

    def show(self) -> None:
        """Print how the model was made, its epochs, and its scores by class: `bmc show`."""
        _show(self.path)

    def __repr__(self) -> str:
        return as_text(f"bmc model {self.path.name}", self._rows())

    def _repr_html_(self) -> str:
        return as_html(f"bmc model {self.path.name}", self._rows())

    def _rows(self) -> dict[str, str]:
        origin = self._recorded("origin", dict)
        made_by = " ".join(str(origin.get(key)) for key in ("command", "baseline") if key in origin)
        scores = self.scores
        rows = {
            "made by": ", ".join([made_by, *self.steps]),
            "task": f"{self.task}: {', '.join(self.labels)}" if self.labels else self.task,
            "validation": measured(scores.get("validation", scores)),
            "size": megabytes(size_of(self.path / "model.safetensors")),
            "path": str(self.path),
        }
        return {name: value for name, value in rows.items() if value}

    def _recorded(self, key: str, kind: type[Any]) -> Any:
        """Return the value of a key in bmc.json.

        Raises:
            ArtifactError: the key is missing, or its value has another type.
        """
        value = read_json(self.path / workspace.MODEL_MANIFEST, "model directory").get(key)
        if not isinstance(value, kind):
            raise ArtifactError(f"{self.path}/bmc.json lacks {key!r} or it is no {kind.__name__}")
        return value

    def _loaded(self) -> Model:
        changed = _changed_at(self.path / workspace.MODEL_MANIFEST)
        return _load_model(self.path, changed, self.code)


@dataclass(frozen=True, repr=False)
class BundleHandle:
    """A bundle on disk, as a device loads it. Two handles of one path are equal.

    Args:
        path: the bundle's folder.

    Example:
        >>> bundle = model.to("onnx")
        >>> bundle.predict("an hour of wit and charm")
    """

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", self.path.absolute())  # the working folder may change

    @property
    def target(self) -> str:
        """The runtime that loads it: "onnx", "openvino", "tensorrt" or "pytorch"."""
        return self._bundle().manifest.target

    @property
    def precision(self) -> str:
        """What the weights and activations are, such as "fp32" or "int8"."""
        return self._bundle().manifest.precision

    @property
    def scores(self) -> Mapping[str, Any]:
        """Scores of the test rows, computed by the bundle; empty if it could not run there."""
        return self._bundle().manifest.scores

    @property
    def parity(self) -> Mapping[str, Any]:
        """Differences between the outputs of the bundle and those of the model in PyTorch."""
        return self._bundle().manifest.parity

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the outputs; empty in a regression."""
        return self._bundle().manifest.labels

    @property
    def data(self) -> Mapping[str, Any]:
        """Which data the model was trained on: reference, columns, fingerprint, rows."""
        data: Mapping[str, Any] = self._bundle().manifest.lineage.get("data") or {}
        return data

    @property
    def size(self) -> int:
        """Bytes of the model in its target's format."""
        return self._bundle().model_size()

    def load(
        self, threads: int | None = None, target: str | None = None, warm: bool = True
    ) -> Pipeline:
        """Load the bundle for many calls; see `bmc.load`."""
        bundle = for_target(self._bundle(), target)
        pipeline = Pipeline(bundle, RuntimeOptions(threads=threads or 0))
        if warm:
            pipeline.warm()
        return pipeline

    def predict(self, rows: Any, threads: int = 0) -> Any:
        """Load the bundle, predict one row or a list of rows, and free the bundle.

        Args:
            rows: rows in the form that `Pipeline` takes.
            threads: threads of the CPU; 0 leaves the choice to the runtime.

        Returns:
            a `Prediction` of a classifier, a tuple of them where a row has several labels, a tuple
            of `Span` where words have tags, a number of a regression, or an image of a generator; a
            list for a list or an iterator of rows.
        """
        rows = list(rows) if isinstance(rows, Iterator) else rows
        with self.load(threads, warm=False) as pipeline:
            return pipeline(rows)

    def show(self) -> None:
        """Print how the bundle was made, and its scores by class: `bmc show`."""
        _show(self.path)

    def __repr__(self) -> str:
        return as_text(f"bmc bundle {self.path.name}", self._rows())

    def _repr_html_(self) -> str:
        return as_html(f"bmc bundle {self.path.name}", self._rows())

    def _rows(self) -> dict[str, str]:
        manifest = self._bundle().manifest
        largest = manifest.parity.get("max_error")
        rows = {
            "target": f"{manifest.target}, {manifest.precision}",
            "test": measured(manifest.scores),
            "parity": f"outputs change by {largest:.1g} at most" if largest is not None else "",
            "size": megabytes(self.size),
            "path": str(self.path),
        }
        return {name: value for name, value in rows.items() if value}

    def _bundle(self) -> Bundle:
        return _read_bundle(self.path, _changed_at(self.path / bundle_files.MANIFEST))


def _changed_at(file: Path) -> int:
    """Return when a file was changed, in nanoseconds.

    Raises:
        ArtifactError: there is no such file.
    """
    try:
        return file.stat().st_mtime_ns
    except OSError as error:
        raise ArtifactError(f"{file} cannot be read any more: {error.strerror}") from error


Handle = ModelHandle | BundleHandle


def reference_of(model: ModelHandle | BundleHandle | OnnxHandle | str | Path) -> str:
    """Return the path of a handle; a path or a name is returned unchanged."""
    return str(model) if isinstance(model, str | Path) else str(model.path)


def open_handle(reference: str | Path, code: str = "") -> Handle | OnnxHandle:
    """Return the handle of a model directory or a bundle, by path or by its workspace name.

    Args:
        reference: a folder, or a name in the workspace; or an ONNX file of another tool, or a
            folder with one.
        code: module:function of yours that builds the model; it may run when this handle, or one
            that is made from it, is used. Nothing that a file names runs otherwise.

    Raises:
        UnknownError: there is neither.

    Example:
        >>> bmc.open("tiny-movie-reviews")
    """
    code = ",".join(names_of(code))
    for path in workspace.candidates(reference):
        if workspace.kind_of(path) == "bundle":
            return BundleHandle(path)
        if workspace.kind_of(path) == "model":
            return ModelHandle(path, code)
    with worded():
        onnx_path = finding.find(str(reference))
        if onnx_path is not None:
            from bmc.api.onnx import OnnxHandle  # noqa: PLC0415  imports this module

            return OnnxHandle(onnx_path)
        return ModelHandle(workspace.find(str(reference), "model"), code)


def as_bundles(
    bundles: BundleHandle | str | Path | Sequence[BundleHandle | str | Path],
) -> list[Path]:
    """Return the folders of bundles that are given as handles, paths or names.

    Raises:
        UnknownError: one of them is no bundle.
    """
    every = [bundles] if isinstance(bundles, BundleHandle | str | Path) else list(bundles)
    return [workspace.find(reference_of(bundle), "bundle") for bundle in every]


def _show(path: Path) -> None:
    from bmc.rendering.lineage import lineage  # noqa: PLC0415  a device needs neither
    from bmc.workflows.show import show  # noqa: PLC0415

    console.say(*lineage(show(str(path))).shown)


@lru_cache(maxsize=1)
def _load_model(path: Path, changed: int, code: str) -> Model:
    """Load a model directory; once for as long as it is not written anew."""
    from bmc import artifact  # noqa: PLC0415  needs torch

    return artifact.load(path)


@lru_cache(maxsize=16)
def _read_bundle(path: Path, changed: int) -> Bundle:
    """Read and check a bundle; once for as long as it is not written anew."""
    return bundle_files.read(path)
