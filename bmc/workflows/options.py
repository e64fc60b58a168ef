"""What callers choose of each workflow: frozen settings, checked; importing them is light."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from bmc.choices import Choice, about, of_plugins
from bmc.contracts.targets import TARGETS, format_of
from bmc.contracts.techniques import techniques
from bmc.errors import SettingError, UsageError
from bmc.measure.latency import BenchSettings
from bmc.report.gates import Gate, read_gates
from bmc.trust import trust


def _precisions() -> list[str]:
    """Return what some target can be asked for; fp32 is another name of f32."""
    asked = {name for target in TARGETS.names() for name in format_of(target).precisions}
    return sorted({*asked, "fp32"})


@dataclass(frozen=True)
class Output:
    """Where a result is written.

    Args:
        output: folder to write. The default is a folder of the workspace that is named after the
            input and the command, such as MODEL-DATA, MODEL-METHOD or MODEL-TARGET.
        force: replace the output if it exists.
    """

    GROUP: ClassVar[str] = "Output"

    output: Path | None = None
    force: bool = False


@dataclass(frozen=True)
class PackedOutput(Output):
    """Where a packed bundle is written.

    Args:
        output: file to write, NAME.bmc. The default is the bundle's folder with .bmc appended.
        force: replace the output if it exists.
    """


@dataclass(frozen=True)
class UnpackedOutput(Output):
    """Where the folder of a packed bundle is written.

    Args:
        output: folder to write. The default is a folder of the workspace with the name of the
            file, without .bmc.
        force: replace the output if it exists.
    """


@dataclass(frozen=True)
class Files(Output):
    """Where a model's data is, and where what is made of the model is written.

    Args:
        data: where the model's training data is now, if it was moved. For the folder of a sentence
            encoder, its texts: a .txt file with a text per line, a table, or a data set.
    """

    data: str | None = field(default=None, metadata=about(group="Data"))


@dataclass(frozen=True)
class SampledFiles(Files):
    """Where the data of a model is, or the sample inputs of an ONNX file.

    Args:
        samples: sample inputs for an ONNX file: an .npz file with one array per input name, samples
            along the first axis or along an additional leading axis; imagefolder:DIR; or a table
            (.csv, .tsv, .jsonl, .json, .parquet) of texts, with tokenizer.json beside the ONNX
            file, or of numbers.
        random_samples: generate the inputs of an ONNX file instead; a weaker check.
        preprocess: how images, texts or numbers become inputs, where no file beside the ONNX file
            says so: scale=1/255, mean=0.485,0.456,0.406, std=0.229,0.224,0.225, order=bgr,
            crop=0.875, stretch=256, size=224 or layout=NHWC (images); text=COLUMN or max_length=128
            (texts); features=a,b,c (numbers); several are possible.
    """

    samples: str | None = field(default=None, metadata=about(group="Data"))
    random_samples: bool = field(default=False, metadata=about(group="Data"))
    preprocess: Mapping[str, Any] = field(default_factory=dict, metadata=about(group="Data"))

    def refuse_samples(self, model: object) -> None:
        """Refuse samples for a model directory, which has data of its own.

        Raises:
            UsageError: there are samples.
        """
        if self.samples is not None or self.random_samples or self.preprocess:
            raise UsageError(
                f"--samples, --random-samples and --preprocess are for ONNX files, and {model} is "
                "a model directory, which has data of its own: leave them out"
            )


@dataclass(frozen=True)
class LimitedFiles(Files):
    """Where a model's data is, and what the bundles of a compressed ONNX file may lose.

    Args:
        target: target runtimes of an ONNX file's bundles; the default is onnx.
        random_samples: generate the inputs of an ONNX file instead of --samples ROWS.npz.
        preprocess: how images, texts or numbers become inputs, where no file beside the ONNX file
            says so: scale=1/255, mean=0.485,0.456,0.406, std=0.229,0.224,0.225, order=bgr,
            crop=0.875, stretch=256, size=224 or layout=NHWC (images); text=COLUMN or max_length=128
            (texts); features=a,b,c (numbers); several are possible.
        labels: array of the .npz file, or column of the table, of samples with the labels: class
            indices, where negative ones are ignored, or numbers; a table's also names of classes.
            The bundles are scored, and --max-drop limits what they lose; the default is then 1
            point. The class folders of imagefolder:DIR and a column `label` need no option.
        min_agreement: smallest agreement of a bundle with the original ONNX file: share of equal
            predictions, or cosine similarity of outputs that are not logits; both leave at most
            ten times the rest to 1 of the variance unexplained. When quantizing, the
            layers with the largest error stay in float until it is reached. The default is 0.99,
            and there is none if the samples have labels.

    Raises:
        SettingError: `min_agreement` is outside 0..1.
    """

    target: tuple[str, ...] = field(default=(), metadata=about(of_plugins(TARGETS, commas=True)))
    random_samples: bool = field(default=False, metadata=about(group="Data"))
    preprocess: Mapping[str, Any] = field(default_factory=dict, metadata=about(group="Data"))
    labels: str | None = field(default=None, metadata=about(group="Data"))
    min_agreement: float | None = field(default=None, metadata=about(group="Method"))

    def __post_init__(self) -> None:
        if self.min_agreement is not None and not 0 <= self.min_agreement <= 1:
            raise SettingError(f"min agreement is {self.min_agreement}; it must lie in 0..1")

    def refuse_for(self, model: object) -> None:
        """Refuse what only ONNX files have, for a model directory.

        Raises:
            UsageError: one of these options is set.
        """
        for option, value in self.of_onnx_files().items():
            if value:
                raise UsageError(
                    f"{option} is for ONNX files, and {model} is a model directory: bmc export "
                    f"writes its bundles; leave {option} out"
                )

    def of_onnx_files(self) -> dict[str, bool]:
        """Return whether each option that only ONNX files have is set."""
        return {
            "--target": bool(self.target),
            "--random-samples": self.random_samples,
            "--preprocess": bool(self.preprocess),
            "--labels": self.labels is not None,
            "--min-agreement": self.min_agreement is not None,
        }


@dataclass(frozen=True)
class QuantizedFiles(LimitedFiles):
    """Where a model's data is, and the settings of a quantized ONNX file's bundles.

    Args:
        allow_slower: accept a quantized ONNX file that is slower than the original.
    """

    allow_slower: bool = False

    def of_onnx_files(self) -> dict[str, bool]:
        """Return whether each option that only ONNX files have is set."""
        return {**super().of_onnx_files(), "--allow-slower": self.allow_slower}


@dataclass(frozen=True)
class CompressedFiles(LimitedFiles):
    """Where a model's data is, and the samples of a pruned or shared ONNX file.

    Args:
        samples: sample inputs for an ONNX file: an .npz file with one array per input name, samples
            along the first axis or along an additional leading axis; imagefolder:DIR; or a table of
            texts, with tokenizer.json beside the ONNX file, or of numbers.
    """

    samples: str | None = field(default=None, metadata=about(group="Data"))

    def of_onnx_files(self) -> dict[str, bool]:
        """Return whether each option that only ONNX files have is set."""
        return {**super().of_onnx_files(), "--samples": self.samples is not None}


@dataclass(frozen=True)
class Architecture:
    """What a model is built with, where that is not its default.

    Args:
        settings: a setting of the model, such as width=256; several are possible.
        max_length: tokens of a text, or time steps of a series, at most; the rest is cut.
    """

    GROUP: ClassVar[str] = "Model"

    settings: Mapping[str, Any] = field(default_factory=dict)
    max_length: int | None = None

    def by_name(self) -> dict[str, Any]:
        """Return the settings of the baseline's family by name."""
        length = {} if self.max_length is None else {"max_length": str(self.max_length)}
        return {**self.settings, **length}


@dataclass(frozen=True)
class Pruning:
    """Which technique prunes, and how much.

    Args:
        method: structured removes channels, hidden units and heads; depth removes whole layers;
            unstructured and movement set single weights to zero; nm sets two of every four
            neighboring weights to zero; vocabulary removes words that the data never uses.
        ratio: fraction to remove, from 0 to 1: of channels, hidden units and heads (structured), of
            layers (depth), of weights (unstructured, movement).
        target_macs: multiply-accumulates per row (32 tokens or time steps) at most, such as 50M, or
            0.25x for a quarter of the model's (structured, depth).
        target_params: parameters at most, such as 5M or 0.25x (structured, depth).
        target_size: size of the weights at most, such as 500kB, 2MB or 0.25x (structured, depth).
        settings: a setting of the method, such as criterion=taylor; several are possible.
    """

    GROUP: ClassVar[str] = "Method"

    method: str = field(default="structured", metadata=about(of_plugins(techniques("prune"))))
    ratio: float | None = None
    target_macs: str | None = None
    target_params: str | None = None
    target_size: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sharing:
    """Which technique factorizes or shares parameters.

    Args:
        method: lowrank factorizes linear layers and convolutions; embedding factorizes the word
            embeddings; layers shares parameters across layers; cluster replaces weights by
            codebooks; tie shares parameters of equal shape.
        settings: a setting of the method, such as energy=0.8; several are possible.
    """

    GROUP: ClassVar[str] = "Method"

    method: str = field(default="lowrank", metadata=about(of_plugins(techniques("share"))))
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Quantization:
    """Which technique quantizes, and the settings that several techniques have.

    Args:
        method: static is int8 with calibrated activation ranges; qat is static followed by
            quantization-aware training; mixed is static with the most sensitive layers in float;
            dynamic is int8 with ranges computed at each call; weights quantizes the weights alone,
            to int8 or int4; fp16 and bf16 are half precision.
        samples: number of calibration samples (static, qat, mixed, dynamic, fp16, and weights with
            --bits 4); for an ONNX file, an .npz file with one array per input name,
            imagefolder:DIR, or a table of texts, with tokenizer.json beside the ONNX file, or of
            numbers.
        calibrator: calibration method of activation ranges (static, qat, mixed).
        bits: 8 or 4 (weights).
        in_float: layers to leave in float, by name or pattern; several are possible.
        settings: a setting of the method, such as weight_bits=7; several are possible.
    """

    GROUP: ClassVar[str] = "Method"

    method: str = field(default="static", metadata=about(of_plugins(techniques("quantize"))))
    samples: str | None = field(default=None, metadata=about(alias="rows"))
    calibrator: str | None = field(
        default=None, metadata=about(Choice("calibrator", ("mse", "minmax", "percentile")))
    )
    bits: int | None = None
    in_float: tuple[str, ...] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def typed(self) -> dict[str, Any]:
        """Return the settings beside `settings` by name; None where one is left out."""
        return {
            "samples": None if self.samples is None else self._count(self.samples),
            "calibrator": self.calibrator,
            "bits": self.bits,
            "in_float": self.typed_names() or None,
        }

    def typed_names(self) -> tuple[str, ...]:
        """Return the names and patterns of layers to leave in float."""
        names = [name.strip() for entry in self.in_float or () for name in entry.split(",")]
        return tuple(name for name in names if name)

    @staticmethod
    def _count(samples: str) -> int:
        try:
            return int(samples)
        except ValueError as error:
            raise SettingError(
                f"--samples is {samples!r}; for a model directory, give a number, such as 128"
            ) from error


@dataclass(frozen=True)
class Measurement:
    """How bundles are measured.

    Args:
        threads: thread count to measure; several are possible.
        batch: batch size.
        length: tokens or time steps per row, without padding. The default is 32, or the model's
            maximum if that is lower.
        precision: inference precision of OpenVINO and PyTorch; f32 and fp32 are the same.
        launches: fresh processes per bundle; up to three times as many if the times vary much.
        rounds: how often each bundle is timed per launch, alternating with the others.
        batches: further batch sizes, such as 8,64, for the throughput in rows per second. Each
            takes as long as the latency.

    Raises:
        SettingError: a setting is out of range.
    """

    GROUP: ClassVar[str] = "Measurement"

    threads: tuple[int, ...] = (1, 2)
    batch: int = 1
    length: int | None = None
    precision: str = field(default="f32", metadata=about(Choice("precision", _precisions)))
    launches: int = 5
    rounds: int = 6
    batches: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self.settings()

    def settings(self) -> BenchSettings:
        """Return how each bundle's calls are timed."""
        return BenchSettings(
            self.batch,
            BenchSettings.length if self.length is None else self.length,
            self.launches,
            self.rounds,
            most_launches=3 * self.launches,
            batches=tuple(rows for rows in dict.fromkeys(self.batches) if rows != self.batch),
        )

    @property
    def runtime_precision(self) -> str:
        """The precision as runtimes name it: "f32" or "bf16"."""
        return "f32" if self.precision == "fp32" else self.precision


@dataclass(frozen=True)
class Device:
    """The machine on which bundles are measured.

    Args:
        on: measure on another machine over ssh (user@host or user@host:port, keys only). The
            bundles and a runner are copied there, golden outputs are checked, and everything is
            removed again. Needs there Python 3.10 or newer, numpy, the runtime, and for texts
            tokenizers.
        python: the Python to use on that machine, such as venv/bin/python.
        make_runner: write a folder to carry to a machine by hand, and to run there with python
            run.py, instead of measuring.
        read: result.json that such a run wrote, or its folder, to read instead of measuring.

    Raises:
        UsageError: two of `on`, `make_runner` and `read` are set, or `python` without `on`.
    """

    GROUP: ClassVar[str] = "Device"

    on: str | None = None
    python: str = "python3"
    make_runner: Path | None = None
    read: Path | None = None

    def __post_init__(self) -> None:
        named = {"--on": self.on, "--make-runner": self.make_runner, "--read": self.read}
        used = [option for option, value in named.items() if value is not None]
        if len(used) > 1:
            raise UsageError(f"{' and '.join(used)} exclude each other; leave one out")
        if self.python != Device.python and self.on is None:
            raise UsageError("--python names the Python of the machine that --on names; add --on")


@dataclass(frozen=True)
class Reporting:
    """What a report compares bundles by.

    Args:
        bench: measure latencies, or leave them out.
        floor: add simple models of the same data, which show what the networks are worth. They are
            trained in seconds to a few minutes, and kept in the workspace's cache.
        length: tokens or time steps per row for the latencies.
        launches: fresh processes per bundle; up to three times as many if the times vary much.
        reference: bundle that counts as 1.0x in the speed-ups, one per data set. The default is
            the teacher's bundle, or that of the model from which the others were compressed.
        gate: limits that every bundle must keep, such as "accuracy>=0.80 size<=5MB p50<=1ms
            max-drop<=1"; otherwise the exit code is 1. Several are possible.
        texts: show texts that a student and its teacher predict differently, where the data is in
            the workspace's reach.

    Raises:
        SettingError: a gate is not of this form.
        UnknownError: a gate limits an unknown figure.
    """

    GROUP: ClassVar[str] = "Report"

    bench: bool = True
    floor: bool = True
    length: int = 32
    launches: int = 5
    reference: str | None = None
    gate: tuple[str, ...] = ()
    texts: bool = True

    def __post_init__(self) -> None:
        self.gates()

    def gates(self) -> tuple[Gate, ...]:
        """Return the limits that every bundle must keep."""
        return read_gates(self.gate)


@dataclass(frozen=True)
class Checking:
    """How a bundle is checked.

    Args:
        threads: CPU threads; 0 lets the runtime choose.
        isolated: run the check in a child process with limits, so that a crash of the runtime ends
            that process alone. Use it for a bundle from somebody else.
        memory_limit: memory limit of an isolated check in GiB, in addition to what loading the
            runtime takes.
        time_limit: time limit of an isolated check, in seconds.
    """

    GROUP: ClassVar[str] = "Check"

    threads: int = 0
    isolated: bool = False
    memory_limit: float = 2.0
    time_limit: float = 20.0


@dataclass(frozen=True)
class PredictOptions:
    """How rows are read and predicted.

    Args:
        pair: second sentence of a pair, once for each row.
        text_column: column of the text; two for sentence pairs. The default is the column that the
            model was trained on.
        threads: CPU threads; 0 lets the runtime choose.
        images: folder to write a generator's images into, as .png files.
    """

    GROUP: ClassVar[str] = "Rows"

    pair: tuple[str, ...] = ()
    text_column: tuple[str, ...] = ()
    threads: int = 0
    images: Path | None = None


@dataclass(frozen=True)
class OwnCode:
    """The code of the user that a command may run; `begin` is called before it starts.

    Args:
        code: your module:function that builds the network, or several, separated by commas. Model
            files may name Python code; bmc runs it only if you pass it here.
    """

    GROUP: ClassVar[str] = "Model"

    code: str = ""

    def begin(self) -> None:
        """Allow bmc to run the functions named by --code, and no other."""
        trust(self.code)
