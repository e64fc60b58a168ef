"""The transformer that is trained from scratch, and the tokenizer that it is trained with."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from transformers import AutoTokenizer

from bmc.data import Dataset
from bmc.errors import ArtifactError, SettingError
from bmc.inputs.text import TextEncoder
from bmc.models import transformer
from bmc.models.tokens import train_tokenizer
from bmc.models.transformer import Settings
from tests.models import _bundles

SMALL = {"hidden": "16", "heads": "2", "feed_forward": "24", "vocabulary": "200"}
SPEC: dict[str, Any] = {
    "layers": 2,
    "hidden": 16,
    "heads": 2,
    "feed_forward": 24,
    "dropout": 0.0,
    "vocabulary": 50,
    "columns": 1,
    "max_length": 64,
    "outputs": 3,
}


@pytest.mark.parametrize("columns", [1, 2])
def test_padding_changes_no_answer_and_order_does(columns: int) -> None:
    torch.manual_seed(0)
    module = transformer.build({**SPEC, "columns": columns})
    ids, types = torch.randint(4, 50, (1, 6)), torch.tensor([[0, 0, 0, 1, 1, 1]])

    def prediction(ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            result: torch.Tensor = module(ids, mask, types if columns == 2 else None)
        return result

    alone = prediction(ids, torch.ones_like(ids), types)
    more = torch.cat([ids, torch.full((1, 5), 9)], dim=1)
    mask = (torch.arange(11) < 6).long()[None]
    padded = prediction(more, mask, torch.cat([types, torch.zeros(1, 5, dtype=torch.int64)], dim=1))
    torch.testing.assert_close(padded, alone, atol=1e-6, rtol=0)
    assert (prediction(ids.flip(1), torch.ones_like(ids), types) - alone).abs().max() > 1e-3


@pytest.fixture(scope="module")
def small(
    reviews: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[_bundles.Exported]:
    """Return a small network after one epoch, and its bundles."""
    folder = tmp_path_factory.mktemp("small")
    with _bundles.exports_of("transformer", reviews, folder, **SMALL) as exported:
        yield exported


def test_bundles_answer_like_the_module(small: _bundles.Exported) -> None:
    inputs = [_bundles.texts(small.model, rows, length) for rows, length in _bundles.SHAPES]
    for target in ("onnx", "openvino"):
        outputs = _bundles.answers_of(small.bundle(target), inputs)
        for arrays, output in zip(inputs, outputs, strict=True):
            np.testing.assert_allclose(
                output, _bundles.module_answers(small.model, arrays), atol=2e-5, err_msg=target
            )
    kinds = [node.op_type for node in onnx.load(small.bundle("onnx").model_path).graph.node]
    assert kinds.count("Attention") == 2
    assert "IsNaN" not in kinds


def test_tensorrt_builds_an_engine(small: _bundles.Exported) -> None:
    pytest.importorskip("tensorrt_rtx")
    assert small.bundle("tensorrt").model_path.stat().st_size > 0


def test_the_form_emits_a_shared_layer_once() -> None:
    model: Any = transformer.build(SPEC)
    model.layers[1] = model.layers[0]
    form = transformer.InferenceForm(model).eval()
    assert form.layers[0] is form.layers[1]
    for inputs in transformer.examples(model):
        with torch.inference_mode():
            torch.testing.assert_close(form(**inputs), model(**inputs), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"layers": 0}, "layers is 0"),
        ({"hidden": 130}, "is not divisible by 4 heads"),
        ({"hidden": 9, "heads": 3}, "even width"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"vocabulary": 5}, "vocabulary is 5"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Settings(**wrong)


def test_a_config_that_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ArtifactError, match=r"config\.json"):
        transformer.build({key: value for key, value in SPEC.items() if key != "hidden"})


def test_parts_name_real_modules() -> None:
    module = transformer.build(SPEC)
    parts = transformer.parts(module)
    assert parts.layers == ("layers.0", "layers.1")
    assert dict(parts.heads) == {"layers.0.attention": 2, "layers.1.attention": 2}
    assert [getattr(module.get_submodule(name), "out_features", 0) for name in parts.outputs] == [3]


# the tokenizer

ROWS = [("A fine film, finely made",), ("a film is a film; is a fine film",)] * 3


def test_a_trained_tokenizer_pads_with_0_and_frames_texts() -> None:
    tokenizer = train_tokenizer(ROWS, 100)
    assert tokenizer.token_to_id("[PAD]") == 0
    assert tokenizer.encode("a film").tokens == ["[CLS]", "a", "film", "[SEP]"]
    pair = tokenizer.encode("a film", "fine")
    assert pair.tokens == ["[CLS]", "a", "film", "[SEP]", "fine", "[SEP]"]
    assert pair.type_ids == [0, 0, 0, 0, 1, 1]
    assert tokenizer.encode("\u65e5").tokens == ["[CLS]", "[UNK]", "[SEP]"]
    assert tokenizer.get_vocab_size() <= 100


def test_the_same_texts_give_the_same_tokenizer_in_another_process() -> None:
    """A run that was killed goes on with a tokenizer that is trained anew."""
    code = (
        "from bmc.models.tokens import train_tokenizer\n"
        "words = [f'{a}{b}{c}' for a in 'abcdefgh' for b in 'ijklmnop' for c in 'qrstuvw']\n"
        "print(train_tokenizer([(' '.join(words),)] * 2, 150).to_str())"
    )
    command = [sys.executable, "-c", code]
    other = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    words = [f"{a}{b}{c}" for a in "abcdefgh" for b in "ijklmnop" for c in "qrstuvw"]
    here = train_tokenizer([(" ".join(words),)] * 2, 150).to_str()
    assert other == f"{here}\n"
    assert len(here) > 1000


def test_hugging_face_reads_the_saved_tokenizer(reviews: Dataset, tmp_path: Path) -> None:
    model = transformer.baseline("transformer", reviews, Settings(vocabulary=300))
    assert isinstance(model.encoder, TextEncoder)
    _bundles.saved(model, tmp_path / "model")
    reference = AutoTokenizer.from_pretrained(tmp_path / "model", local_files_only=True)
    text = "An uneven but Charming film"
    assert reference(text)["input_ids"] == model.encoder.tokenizer.encode(text).ids
    assert reference.pad_token == "[PAD]"
    assert reference.pad_token_id == 0
    assert reference.mask_token is None
