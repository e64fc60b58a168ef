"""Does the generator draw clothes better than a Gaussian fitted to their pixels would?

    python benchmarks/gan.py --generator BUNDLE --cnn MODEL     (two minutes)

BUNDLE is an exported `gan`, MODEL the directory of a `cnn`, both trained on fashion-mnist. 10,000
images each are held against the 10,000 test images, by the Frechet distance of the cnn's features
in front of its last layer: the generator's, drawn by the bundle; images from a Gaussian with the
mean and full covariance of the training pixels, clipped to their range; and real training images,
which are the floor.

Writes benchmarks/results/gan.json, and a picture of samples beside it. Exit code 1: the bar is not
met.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import HERE, Bar, finish
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from bmc import artifact, bundle
from bmc import data as datasets
from bmc.files import sha256
from bmc.measure.frechet import frechet_distance
from bmc.model import Model
from bmc.pipeline import Pipeline
from bmc.targets import RuntimeOptions

DATA, SAMPLES, BATCH = "fashion-mnist", 10_000, 500
AT_MOST = 0.5
ROWS, COLUMNS = 8, 16
Images = NDArray[np.uint8]


def main() -> int:
    """Draw, measure, judge."""
    options = _options()
    data = datasets.load(DATA)
    judge = artifact.load(options.cnn)
    generator = bundle.read(options.generator)
    for name, trained_on in (
        (str(options.cnn), judge.data),
        (str(options.generator), generator.manifest.lineage["data"]),
    ):
        datasets.check_same(data, trained_on.get("fingerprint"), name)
    samples = drawn(generator, options.threads)
    train, test = np.asarray(data.train.rows), np.asarray(data.test.rows)
    chosen = np.random.default_rng(0).permutation(len(train))[:SAMPLES]
    real = features(judge, test)
    measures = {
        name: frechet_distance(features(judge, images), real)
        for name, images in (
            ("generator", samples),
            ("gaussian", _gaussian(train)),
            ("real", train[chosen]),
        )
    }
    for name, distance in measures.items():
        print(f"{name:10} to the test images: {distance:8.3f}")
    picture = HERE / "results" / "gan.png"
    _draw(samples, picture)
    print(f"wrote {picture}")
    share = measures["generator"] / measures["gaussian"]
    must = f"distance of the generator at most {AT_MOST} of the fitted Gaussian's"
    content = {
        "data": DATA,
        "samples": SAMPLES,
        "distances": measures,
        "generator_over_gaussian": share,
        "generator": {
            "parameters": generator.manifest.lineage["parameters"],
            "target": generator.manifest.target,
            "model_bytes": generator.model_size(),
            "weights_sha256": generator.manifest.lineage["weights_sha256"],
        },
        "cnn": {
            "weights_sha256": sha256(options.cnn / "model.safetensors"),
            "scores": judge.scores,
        },
        "outputs": [asdict(info) for info in generator.manifest.outputs],
    }
    return finish("gan", [Bar(must, f"{share:.3f}", share <= AT_MOST)], content)


def drawn(generator: bundle.Bundle, threads: int = 0) -> Images:
    """Return the images that an exported generator makes of the first rows of noise."""
    with Pipeline(generator, RuntimeOptions(threads=threads)) as pipeline:
        return np.stack(pipeline(list(range(SAMPLES))))


@torch.no_grad()
def features(judge: Model, images: Images) -> NDArray[np.float32]:
    """Return the inputs of a classifier's last linear layer: (rows, features)."""
    last = [layer for layer in judge.module.modules() if isinstance(layer, nn.Linear)][-1]
    activations: list[NDArray[np.float32]] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        activations.append(inputs[0].numpy())

    encoded = judge.encoder.encode(images)
    hook = last.register_forward_pre_hook(keep)
    for start in range(0, len(images), BATCH):
        places = range(start, min(start + BATCH, len(images)))
        arrays: dict[str, Any] = judge.encoder.batch(encoded, places)
        judge.module(**{name: torch.from_numpy(array) for name, array in arrays.items()})
    hook.remove()
    return np.concatenate(activations)


def _gaussian(train: Images) -> Images:
    """Draw images from a Gaussian with the training pixels' mean and covariance."""
    flat = train.reshape(len(train), -1).astype(np.float64)
    generator = np.random.default_rng(0)
    values, vectors = np.linalg.eigh(np.cov(flat.T))
    noise = generator.standard_normal((SAMPLES, flat.shape[1]))
    drawn = flat.mean(axis=0) + (noise * np.sqrt(values.clip(min=0))) @ vectors.T
    images: Images = drawn.round().clip(0, 255).astype(np.uint8)
    return images.reshape(SAMPLES, *train.shape[1:])


def _draw(samples: Images, path: Path) -> None:
    """Write the first samples into one picture."""
    height, width, channels = samples.shape[1:]
    path.parent.mkdir(exist_ok=True)
    grid = samples[: ROWS * COLUMNS].reshape(ROWS, COLUMNS, height, width, channels)
    grid = grid.transpose(0, 2, 1, 3, 4).reshape(ROWS * height, COLUMNS * width, channels)
    Image.fromarray(grid[:, :, 0] if channels == 1 else grid).save(path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--generator", type=Path, required=True, help="a bundle")
    parser.add_argument("--cnn", type=Path, required=True, help="a model directory")
    parser.add_argument("--threads", type=int, default=0, help="of the bundle; 0 for its choice")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
