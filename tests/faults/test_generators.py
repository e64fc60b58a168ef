"""A generator through every method: trained, changed, fine-tuned, and nothing lost at the end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bmc import artifact, cli

Bmc = Callable[..., tuple[int, str, str]]
WAYS = (
    ("share", "cluster"),
    ("prune", "structured"),
    ("prune", "unstructured"),
    ("prune", "movement"),
    ("quantize", "qat"),
    ("quantize", "weights"),
)


@pytest.fixture(scope="module")
def little_gan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small generator, trained on digits for one epoch."""
    output = tmp_path_factory.mktemp("model") / "little-gan"
    options = ["--data", "digits", "--set", "width=8", "--set", "latent=10", "--epochs", "1"]
    assert cli.run(["train", "gan", *options, "--device", "cpu", "-o", str(output), "--quiet"]) == 0
    return output


@pytest.mark.parametrize(("verb", "method"), WAYS)
def test_a_generator_is_changed_fine_tuned_and_scored(
    verb: str, method: str, little_gan: Path, bmc: Bmc, tmp_path: Path
) -> None:
    tuning = ("--epochs", 1) if verb != "quantize" or method == "qat" else ()
    output = tmp_path / method
    code, out, err = bmc(verb, little_gan, "--method", method, *tuning, "--json", "-o", output)
    assert code == 0, err
    assert json.loads(out)["after"]["score"] is None
    changed = artifact.load(output)
    assert ("validation_frechet_distance" in changed.scores) == bool(tuning)
