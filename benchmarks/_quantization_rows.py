"""The rows of quantization.py: a model, how it is quantized, and the requirements."""

from __future__ import annotations

from dataclasses import dataclass, field

from _common import RUNS


@dataclass(frozen=True)
class Row:
    """A model, how it is quantized, and the requirements for the result.

    Args:
        name: name of the row.
        base: the baseline's name, but for its seed.
        made_by: the command that makes it, but for seed and output.
        options: options of `bmc quantize`.
        most_lost: held-out points that may be lost, in every target, the mean over seeds.
        faster: required speed-up over fp32, in each target.
        over_bf16: required speed-up over the fp32 model in OpenVINO with bf16.
        over_plain: required speed-up over the file of plain `torch.onnx.export` in ONNX Runtime.
        surely: value that the lower end of ONNX Runtime's interval must exceed.
        smaller: largest accepted file size, as a fraction of the fp32 file.
        smaller_linears: likewise linear layers' 4 bits with their scales, in the ONNX file.
        targets: targets to which the row is exported.
        lengths: tokens that latencies are measured at.
        threads: thread counts; the faster one is used.
        seeds: number of seeds; the requirements apply to their mean.
    """

    name: str
    base: str
    made_by: tuple[str, ...]
    options: tuple[str, ...]
    most_lost: float
    faster: dict[str, float] = field(default_factory=dict)
    over_bf16: float | None = None
    over_plain: float | None = None
    surely: float | None = None
    smaller: float | None = None
    smaller_linears: float | None = None
    targets: tuple[str, ...] = ("onnx", "openvino", "tensorrt")
    lengths: tuple[int, ...] = (32,)
    threads: tuple[int, ...] = (1, 2)
    seeds: int = 1


def _trained(model: str, data: str) -> tuple[str, tuple[str, ...]]:
    """Return the name of a baseline of baselines.py, and how it is trained."""
    return f"{model}-{data}", ("train", model, "--data", data)


BERT = _trained("bert", "movie-reviews")
MPNET = _trained("mpnet", "movie-reviews")
RESNET18 = _trained("resnet18", "fashion-mnist")
MOBILENET = _trained("mobilenet-v2", "fashion-mnist")
SUBSET = str(RUNS / "fashion-mnist-8000.npz")  # as many as train at 224x224 in ten minutes
SUBSET_ROWS = 8_000
LARGE_IMAGES = (
    "mobilenet-v2-224-fashion-subset",
    ("train", "mobilenet-v2", "--data", SUBSET, "--set", "image_size=224", "--epochs", "2"),
)
TEACHER = f"{BERT[0]}-0"
TINY = ("tiny-movie-reviews", ("distill", "--teacher", TEACHER, "--student", "tiny"))
STATIC = ("--method", "static")

ROWS = (
    Row(
        "bert",
        *BERT,
        STATIC,
        most_lost=0.5,
        faster={"onnx": 2.0, "openvino": 1.9},
        over_bf16=1.3,
        over_plain=2.2,
        surely=1.8,
        smaller=0.26,
        lengths=(32, 128),
        seeds=3,
    ),
    Row("mpnet", *MPNET, STATIC, most_lost=0.5, faster={"openvino": 2.8}, lengths=(32, 128)),
    Row(
        "resnet18",
        *RESNET18,
        STATIC,
        most_lost=0.3,
        faster={"onnx": 3.0, "openvino": 3.0},
        over_bf16=1.5,
    ),
    Row("mobilenet-v2", *MOBILENET, STATIC, most_lost=0.5),
    Row(
        "mobilenet-v2-224",
        *LARGE_IMAGES,
        STATIC,
        most_lost=0.5,
        faster={"onnx": 1.8, "openvino": 1.8},
    ),
    Row(
        "tiny",
        *TINY,
        (*STATIC, "--set", "reach=0"),  # a multiplication more is 2 % of its time
        most_lost=0.5,
        faster={"onnx": 1.4},
        smaller=0.27,
        threads=(1,),
    ),
    Row("cnn", *_trained("cnn", "fashion-mnist"), STATIC, most_lost=0.5, seeds=3),
    Row("lstm", *_trained("lstm", "japanese-vowels"), ("--method", "weights"), 0.5, seeds=5),
    Row(
        "gru",
        *_trained("gru", "japanese-vowels"),
        ("--method", "weights"),
        most_lost=0.5,
        targets=("onnx", "openvino"),  # TensorRT takes a GRU's weights in float alone
        seeds=5,
    ),
    Row(
        "bert-int4",
        *BERT,
        ("--method", "weights", "--bits", "4"),
        most_lost=1.0,
        smaller_linears=0.16,
    ),
    Row("bert-dynamic", *BERT, ("--method", "dynamic"), 0.5, targets=("onnx",)),
    Row("bert-fp16", *BERT, ("--method", "fp16"), 0.5),
    Row("bert-mixed", *BERT, ("--method", "mixed"), 0.5),
)
