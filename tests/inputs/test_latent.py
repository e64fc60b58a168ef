"""Noise for generators: a seed gives the same row everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmc import inputs
from bmc.errors import ArtifactError, DataError
from bmc.inputs.latent import LatentEncoder

BY = LatentEncoder(1000)


def test_a_seed_gives_the_same_noise_alone_and_in_a_batch() -> None:
    together = BY.batch(BY.encode(range(5)), [3, 1])["latent"]
    assert together.dtype == np.float32
    np.testing.assert_array_equal(together[0], BY.encode([3])[0])
    np.testing.assert_array_equal(together[1], BY.encode([1])[0])
    assert not np.array_equal(together[0], together[1])


def test_noise_is_standard_normal() -> None:
    noise = BY.encode(range(20))
    assert abs(noise.mean()) < 0.03
    assert noise.std() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("seed", [-1, "seven", None, [1, 2]])
def test_what_seeds_nothing_is_refused(seed: Any) -> None:
    with pytest.raises(DataError, match="whole number that seeds its noise"):
        BY.encode([seed])


def test_probes_and_timing_inputs_have_the_shapes_that_tensors_say() -> None:
    for arrays in [*BY.probes(5), BY.sized(BY.probes(5)[1], 3, 128)]:
        assert arrays["latent"].shape[1:] == BY.tensors()[0].shape[1:]
    assert len(BY.sized(BY.probes(1)[0], 3, 1)["latent"]) == 3


def test_an_encoder_comes_back_from_its_settings(tmp_path: Path) -> None:
    again = inputs.load(BY.to_json(), tmp_path)
    np.testing.assert_array_equal(again.encode([7]), BY.encode([7]))


@pytest.mark.parametrize("size", [0, -3, 2**17, "100", True, None])
def test_malformed_preprocessing_is_refused(size: Any, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="preprocessing"):
        inputs.load({"kind": "latent", "size": size}, tmp_path)
