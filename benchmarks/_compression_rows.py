"""The rows of compression.py: a model, the commands that compress it, and the requirements."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A model, the commands that compress it, and the requirements for the result.

    Args:
        name: name of the row.
        model: the baseline.
        data: its data.
        steps: verb and options of each command of the chain.
        most_lost: held-out points that may be lost, the mean over seeds; None for a generator.
        fewer: required factor by which the measure of `compression.py` must be smaller.
        faster: required factor by which the p50 must be lower, in every target.
        seeds: number of seeds; the requirements apply to their mean.
        tokens: length of a text or series at which MACs and latency are measured.
        farther: largest accepted factor by which the distance of generated images from real ones
            grows.
    """

    name: str
    model: str
    data: str
    steps: tuple[tuple[str, ...], ...]
    most_lost: float | None
    fewer: tuple[tuple[str, float], ...] = ()
    faster: float | None = None
    seeds: int = 1
    tokens: int = 32
    farther: float | None = None


TEACHER = "mpnet-movie-reviews-0"  # of the texts' rows: the better of the two baselines


def _taught(texts: int) -> tuple[str, ...]:
    """Return the options to learn from the teacher, with a number of unlabeled texts."""
    return (
        *("--transfer", "imdb", "--transfer-size", str(texts), "--teacher", TEACHER),
        *("--learning-rate", "1.5e-4"),
    )


ROWS: tuple[Row, ...] = (
    Row(
        "resnet18",
        "resnet18",
        "fashion-mnist",
        (
            (
                *("prune", "--target-macs", "0.24x", "--distill", "--epochs", "4"),
                *("--set", "multiple=8"),
            ),
        ),
        most_lost=0.5,
        fewer=(("macs", 4),),
        faster=2.5,
    ),
    Row(
        "vgg16",
        "vgg16",
        "fashion-mnist",
        (
            (
                *("prune", "--target-macs", "0.12x", "--target-params", "0.09x"),
                *("--distill", "--epochs", "6", "--set", "multiple=8"),
            ),
            ("share", "--method", "cluster", "--set", "values=256", "--epochs", "0"),
        ),
        most_lost=0.5,
        fewer=(("macs", 8), ("model_bytes", 40), ("weights_bytes", 40)),
    ),
    Row(
        "bert-2.5x",
        "bert",
        "movie-reviews",
        (
            ("prune", "--method", "depth", "--ratio", "0.33", "--epochs", "0"),
            (
                "prune",
                "--ratio",
                "0.4",
                "--set",
                "criterion=taylor",
                "--epochs",
                "3",
                *_taught(50_000),
            ),
        ),
        most_lost=1.0,
        faster=2.5,
        seeds=3,
    ),
    Row(
        "bert-5x",
        "bert",
        "movie-reviews",
        (
            ("prune", "--method", "depth", "--ratio", "0.5", "--epochs", "0"),
            (
                "prune",
                "--ratio",
                "0.55",
                "--set",
                "criterion=taylor",
                "--epochs",
                "3",
                *_taught(50_000),
            ),
        ),
        most_lost=2.5,
        faster=5,
        seeds=3,
    ),
    Row(
        "bert-embeddings",
        "bert",
        "movie-reviews",
        (
            ("prune", "--method", "vocabulary", "--set", "max_split=1", "--epochs", "0"),
            ("share", "--method", "embedding", "--epochs", "2", *_taught(50_000)),
            # The encoder alone is half of the file, so no word table is small enough by itself.
            ("share", "--method", "cluster", "--set", "values=256", "--epochs", "0"),
        ),
        most_lost=0.5,
        fewer=(("model_bytes", 3),),
        seeds=3,
    ),
    Row(
        "bert-layers",
        "bert",
        "movie-reviews",
        (
            (
                *("share", "--method", "layers", "--set", "group=3", "--set", "start=best"),
                *("--epochs", "1", *_taught(50_000)),
            ),
            (
                *("prune", "--ratio", "0.45", "--set", "criterion=taylor"),
                *("--epochs", "3", *_taught(50_000)),
            ),
        ),
        most_lost=2.0,
        fewer=(("encoder_parameters", 5),),
        seeds=3,
    ),
    Row(
        "lstm",
        "lstm",
        "japanese-vowels",
        (("prune", "--ratio", "0.5", "--epochs", "40"),),
        most_lost=100 * 6 / 370,
        fewer=(("parameters", 3),),
        seeds=5,
        tokens=16,
    ),
    Row(
        "gan",
        "gan",
        "fashion-mnist",
        (
            (
                *("share", "--method", "lowrank", "--set", "fit=outputs", "--set", "budget=0.245"),
                *("--set", "layers=layers.*", "--epochs", "0"),
            ),
        ),
        most_lost=None,
        fewer=(("parameters", 4),),
        farther=1.1,
    ),
)
