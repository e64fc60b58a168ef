"""The handle of an ONNX file of another tool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from numpy.typing import NDArray

from bmc.api._calls import Progress, call, path_of
from bmc.api.handles import BundleHandle
from bmc.files import size_of
from bmc.measure.shown import megabytes
from bmc.rendering.summaries import as_html, as_text

if TYPE_CHECKING:
    from bmc.export.onnx_scores import ScoreFunction
    from bmc.workflows.onnx_files import InMemory, InspectedOnnx
    from bmc.workflows.options import CompressedFiles

Arrays = Mapping[str, NDArray[Any]]
Samples = Arrays | Iterable[Arrays] | str | Path
"""One array per input name, or an .npz file of such arrays: samples along the first axis, or along
an additional leading axis. An iterable yields such arrays of one sample, or of several; it is read
once, and may hold more than fits into memory. Texts, numbers and images are read from a table, or
from "imagefolder:DIR"."""


@dataclass(frozen=True, repr=False)
class OnnxHandle:
    """An ONNX file of another tool. Two handles of one path are equal.

    Args:
        path: the file.

    Example:
        >>> model = bmc.open("model.onnx")
        >>> onnx, openvino = model.to("onnx", "openvino", samples={"input": images})
        >>> onnx.predict({"input": images[:1]})
    """

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", self.path.absolute())  # the working folder may change

    def inspect(self) -> InspectedOnnx:
        """Return the inputs, outputs and operators, and the cost of each layer: `bmc inspect`."""
        from bmc.workflows.onnx_files import inspect_file  # noqa: PLC0415  needs the onnx package

        with call(False, None):
            return inspect_file(self.path)

    def predict(self, rows: Any) -> Any:
        """Compute the outputs of one row, or of a list of rows, in ONNX Runtime.

        Args:
            rows: the input tensors by name, as the file takes them; a list holds several rows.

        Returns:
            the outputs by name; a list for a list of rows.

        Raises:
            DataError: the file cannot compute a row.
        """
        from bmc.onnx_models.reading import read  # noqa: PLC0415  needs the onnx package
        from bmc.onnx_models.running import Reference  # noqa: PLC0415  needs onnxruntime
        from bmc.onnx_models.samples import tensors_of  # noqa: PLC0415  needs the onnx package

        with call(False, None):
            file = read(self.path)
            session = Reference(self.path)
            if isinstance(rows, list):
                return [session.run(tensors_of(file, row)) for row in rows]
            return session.run(tensors_of(file, rows))

    @overload
    def to(
        self,
        target: str,
        /,
        *,
        samples: Samples | None = None,
        random_samples: bool = False,
        preprocess: Mapping[str, Any] | None = None,
        opset: int | None = None,
        batch: int | None = None,
        simplify: bool = False,
        mobile: bool = False,
        max_batch: int = 16,
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
        samples: Samples | None = None,
        random_samples: bool = False,
        preprocess: Mapping[str, Any] | None = None,
        opset: int | None = None,
        batch: int | None = None,
        simplify: bool = False,
        mobile: bool = False,
        max_batch: int = 16,
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
        samples: Samples | None = None,
        random_samples: bool = False,
        preprocess: Mapping[str, Any] | None = None,
        opset: int | None = None,
        batch: int | None = None,
        simplify: bool = False,
        mobile: bool = False,
        max_batch: int = 16,
        output: str | Path | None = None,
        force: bool = False,
        verbose: bool = False,
        progress: Progress | None = None,
    ) -> BundleHandle | tuple[BundleHandle, ...]:
        """Export the file; the outputs of each bundle are compared with the file's, on samples.

        Args:
            target: "onnx", "openvino" or "tensorrt".
            more: further targets.
            samples: one array per input name, an iterable of such arrays, an .npz file, a table of
                texts or numbers, or "imagefolder:DIR".
            random_samples: generate the inputs instead; a weaker check.
            preprocess: how images, texts or numbers become inputs, where no file beside the ONNX
                file says so, such as {"scale": 1 / 255, "mean": (0.485, 0.456, 0.406)};
                `bmc.onnx_models.preprocessing.Preprocessing` has the names.
            opset: version of the ONNX operators, 18 to 23; that of the file when None.
            batch: number of rows of every call, in place of any number.
            simplify: fold constants and batch norms, and remove what no output needs.
            mobile: also write the model for ONNX Runtime Mobile ("onnx").
            max_batch: largest batch of a TensorRT engine, in rows.
            output: the bundle of a single target; NAME-TARGET in the workspace when None.
            force: replace bundles that exist.
            verbose: write notes and progress to stderr.
            progress: function that is called with each note and step instead.

        Returns:
            a handle of the bundle; for several targets a tuple of handles, in the order of the
            targets.

        Raises:
            GateError: a bundle's outputs differ too much from the file's; the bundle is kept as
                NAME.failed.
            UsageError: there are no samples, or a target cannot execute the file.
            DataError: the samples do not fit the inputs.
        """
        from bmc.export import ExportOptions  # noqa: PLC0415  needs torch
        from bmc.workflows.export import export  # noqa: PLC0415
        from bmc.workflows.options import SampledFiles  # noqa: PLC0415

        arrays = None if isinstance(samples, str | Path) else samples
        path = str(samples) if isinstance(samples, str | Path) else None
        files = SampledFiles(
            path_of(output), force, None, path, random_samples, dict(preprocess or {})
        )
        with call(verbose, progress, alone="an export"):
            options = ExportOptions(opset, max_batch, batch=batch, simplify=simplify, mobile=mobile)
            result = export(str(self.path), (target, *more), options, files, arrays)
        bundles = tuple(BundleHandle(bundle.path) for bundle in result.bundles)
        return bundles if more else bundles[0]

    def quantize(
        self,
        target: str = "onnx",
        /,
        *more: str,
        samples: Samples | None = None,
        random_samples: bool = False,
        preprocess: Mapping[str, Any] | None = None,
        calibrator: str = "mse",
        in_float: Sequence[str] = (),
        weight_bits: int = 8,
        labels: str | NDArray[Any] | None = None,
        score: ScoreFunction | None = None,
        max_drop: float | None = None,
        min_agreement: float | None = None,
        allow_slower: bool = False,
        output: str | Path | None = None,
        force: bool = False,
        verbose: bool = False,
        progress: Progress | None = None,
    ) -> tuple[BundleHandle, ...]:
        """Quantize the file's layers to 8 bits, and write a bundle for each target.

        Args:
            target: "onnx", "openvino" or "tensorrt".
            more: further targets.
            samples: one array per input name, an iterable of such arrays, an .npz file, a table of
                texts or numbers, or "imagefolder:DIR".
            random_samples: generate the inputs instead; a weaker check.
            preprocess: how images, texts or numbers become inputs, where no file beside the ONNX
                file says so, such as {"scale": 1 / 255, "mean": (0.485, 0.456, 0.406)};
                `bmc.onnx_models.preprocessing.Preprocessing` has the names.
            calibrator: "mse", "minmax" or "percentile".
            in_float: names or patterns of nodes that stay in float.
            weight_bits: bits of the weights: 8, or 7 for x86 processors without VNNI, where int8
                accumulators saturate. 7 bits are stored as 8.
            labels: labels of the samples along the first axis: class indices, where negative ones
                are ignored, or numbers; or the name of their array among the samples, or of their
                column in a table. Class folders and a column "label" need no name.
            score: function of the outputs of each sample, arrays by name, and of the labels of each
                sample, which returns a number in 0..1, higher is better. It takes the place of
                accuracy (class indices) or R2 (numbers).
            max_drop: points of the score that may be lost; 1 when None.
            min_agreement: smallest agreement of a bundle with the file: share of equal predictions,
                or cosine similarity of outputs that are not logits; both leave at most ten times
                the rest to 1 of the variance unexplained; 0.99 when None, and none with labels. The
                layers with the largest quantization error stay in float until the
                limits hold.
            allow_slower: accept a bundle that is slower than the file.
            output: the bundle of a single target; NAME-int8-TARGET in the workspace when None.
            force: replace bundles that exist.
            verbose: write notes and progress to stderr.
            progress: function that is called with each note and step instead.

        Returns:
            handles of the bundles, in the order of the targets.

        Raises:
            GateError: a bundle loses too much, is refused by its runtime, or is slower; it is kept
                as NAME.failed.
            UsageError: there are no samples, nothing can be quantized, or the labels fit no output.
            SettingError: weight_bits is neither 7 nor 8.
        """
        from bmc.workflows.onnx_files import InMemory  # noqa: PLC0415  needs the onnx package
        from bmc.workflows.onnx_quantize import quantize_file  # noqa: PLC0415  needs torch
        from bmc.workflows.options import Quantization, QuantizedFiles  # noqa: PLC0415

        arrays = None if isinstance(samples, str | Path) else samples
        path = str(samples) if isinstance(samples, str | Path) else None
        with call(verbose, progress):
            quantization = Quantization(
                samples=path,
                calibrator=calibrator,
                in_float=tuple(in_float),
                settings={"weight_bits": weight_bits},
            )
            files = QuantizedFiles(
                output=path_of(output),
                force=force,
                target=(target, *more),
                random_samples=random_samples,
                preprocess=dict(preprocess or {}),
                min_agreement=min_agreement,
                allow_slower=allow_slower,
            )
            in_memory = InMemory(arrays, labels, score)
            result = quantize_file(self.path, quantization, files, in_memory, max_drop)
        return tuple(BundleHandle(bundle.path) for bundle in result.bundles)

    def prune(
        self,
        target: str = "onnx",
        /,
        *more: str,
        method: str = "unstructured",
        ratio: float | None = None,
        samples: Samples | None = None,
        random_samples: bool = False,
        preprocess: Mapping[str, Any] | None = None,
        labels: str | NDArray[Any] | None = None,
        score: ScoreFunction | None = None,
        max_drop: float | None = None,
        min_agreement: float | None = None,
        output: str | Path | None = None,
        force: bool = False,
        verbose: bool = False,
        progress: Progress | None = None,
        **settings: Any,
    ) -> tuple[BundleHandle, ...]:
        """Set weights of the file to zero, and write a bundle for each target.

        Nothing is trained, and an ONNX file stores zeros like other numbers: it is smaller only
        when it is compressed.

        Args:
            target: "onnx", "openvino" or "tensorrt".
            more: further targets.
            method: "unstructured" or "nm".
            ratio: share of the weights that are zero afterwards (unstructured).
            samples: one array per input name, an iterable of such arrays, an .npz file, a table of
                texts or numbers, or "imagefolder:DIR".
            random_samples: generate the inputs instead; a weaker check.
            preprocess: how images, texts or numbers become inputs, where no file beside the ONNX
                file says so, such as {"scale": 1 / 255, "mean": (0.485, 0.456, 0.406)};
                `bmc.onnx_models.preprocessing.Preprocessing` has the names.
            labels: labels of the samples; see `quantize`.
            score: score function; see `quantize`.
            max_drop: points of the score that may be lost; 1 when None.
            min_agreement: smallest agreement of a bundle with the file; see `quantize`.
            output: the bundle of a single target; NAME-METHOD-TARGET in the workspace when None.
            force: replace bundles that exist.
            verbose: write notes and progress to stderr.
            progress: function that is called with each note and step instead.
            settings: the method's own settings, such as scope="layer" or pattern="4:8".

        Returns:
            handles of the bundles, in the order of the targets.

        Raises:
            GateError: a bundle agrees too little with the file; it is kept as NAME.failed.
            UsageError: there are no samples, or nothing can be changed.
        """

        from bmc.workflows.options import Pruning  # noqa: PLC0415
        from bmc.workflows.prune import prune_file  # noqa: PLC0415  needs torch
        from bmc.workflows.tuning import Tuning  # noqa: PLC0415

        files, in_memory = _compressed_files(
            (target, *more),
            samples,
            labels,
            score,
            output,
            force=force,
            random_samples=random_samples,
            preprocess=dict(preprocess or {}),
            min_agreement=min_agreement,
        )
        with call(verbose, progress):
            pruning = Pruning(method, ratio, settings=settings)
            tuning = Tuning(max_drop=max_drop)
            result = prune_file(self.path, pruning, tuning, files, in_memory)
        return tuple(BundleHandle(bundle.path) for bundle in result.bundles)

    def share(
        self,
        target: str = "onnx",
        /,
        *more: str,
        method: str = "cluster",
        samples: Samples | None = None,
        random_samples: bool = False,
        preprocess: Mapping[str, Any] | None = None,
        labels: str | NDArray[Any] | None = None,
        score: ScoreFunction | None = None,
        max_drop: float | None = None,
        min_agreement: float | None = None,
        output: str | Path | None = None,
        force: bool = False,
        verbose: bool = False,
        progress: Progress | None = None,
        **settings: Any,
    ) -> tuple[BundleHandle, ...]:
        """Store weights of the file as codebooks, and write a bundle for each target.

        Args:
            target: "onnx", "openvino" or "tensorrt".
            more: further targets.
            method: "cluster".
            samples: one array per input name, an iterable of such arrays, an .npz file, a table of
                texts or numbers, or "imagefolder:DIR".
            random_samples: generate the inputs instead; a weaker check.
            preprocess: how images, texts or numbers become inputs, where no file beside the ONNX
                file says so, such as {"scale": 1 / 255, "mean": (0.485, 0.456, 0.406)};
                `bmc.onnx_models.preprocessing.Preprocessing` has the names.
            labels: labels of the samples; see `quantize`.
            score: score function; see `quantize`.
            max_drop: points of the score that may be lost; 1 when None.
            min_agreement: smallest agreement of a bundle with the file; see `quantize`.
            output: the bundle of a single target; NAME-METHOD-TARGET in the workspace when None.
            force: replace bundles that exist.
            verbose: write notes and progress to stderr.
            progress: function that is called with each note and step instead.
            settings: the method's own settings, such as values=256.

        Returns:
            handles of the bundles, in the order of the targets.

        Raises:
            GateError: a bundle agrees too little with the file; it is kept as NAME.failed.
            UsageError: there are no samples, or nothing can be changed.
        """

        from bmc.workflows.options import Sharing  # noqa: PLC0415
        from bmc.workflows.share import share_file  # noqa: PLC0415  needs torch
        from bmc.workflows.tuning import Tuning  # noqa: PLC0415

        files, in_memory = _compressed_files(
            (target, *more),
            samples,
            labels,
            score,
            output,
            force=force,
            random_samples=random_samples,
            preprocess=dict(preprocess or {}),
            min_agreement=min_agreement,
        )
        with call(verbose, progress):
            tuning = Tuning(max_drop=max_drop)
            result = share_file(self.path, Sharing(method, settings), tuning, files, in_memory)
        return tuple(BundleHandle(bundle.path) for bundle in result.bundles)

    def __repr__(self) -> str:
        return as_text(f"ONNX file {self.path.name}", self._rows())

    def _repr_html_(self) -> str:
        return as_html(f"ONNX file {self.path.name}", self._rows())

    def _rows(self) -> dict[str, str]:
        return {"size": megabytes(size_of(self.path)), "path": str(self.path)}


def _compressed_files(
    targets: tuple[str, ...],
    samples: Samples | None,
    labels: str | NDArray[Any] | None,
    score: ScoreFunction | None,
    output: str | Path | None,
    **options: Any,
) -> tuple[CompressedFiles, InMemory]:
    """Return samples, labels and limits as the workflows take them.

    Args:
        targets: names of the targets.
        samples: samples of any kind.
        labels: labels of the samples, or their name.
        score: score function of the caller.
        output: the bundle of a single target.
        options: fields of `CompressedFiles` by name.
    """
    from bmc.workflows.onnx_files import InMemory  # noqa: PLC0415  needs the onnx package
    from bmc.workflows.options import CompressedFiles  # noqa: PLC0415

    arrays = None if isinstance(samples, str | Path) else samples
    path = str(samples) if isinstance(samples, str | Path) else None
    files = CompressedFiles(output=path_of(output), target=targets, samples=path, **options)
    return files, InMemory(arrays, labels, score)
