"""Encoders of sentences: folders against transformers' own answers, pooled by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import normalize
from transformers import AutoModel, BertConfig, BertModel, BertTokenizer

from bmc.contracts import families
from bmc.errors import ArtifactError, BmcError, SettingError
from bmc.inference.form import inference_form
from bmc.inputs.text import TextSettings
from bmc.model import Model, output_of
from bmc.models import bert, hugging_face
from tests.faults import _folders
from tests.models import _bundles, _encoders

FAMILIES = (*_encoders.ENCODERS, "bert", "mpnet")
TEXTS = ("the great film", "a new york café", "bad", "don't")
PROMPT = "the film: "
DENSE = {"weight": torch.linspace(-1, 1, 8 * 32).view(8, 32), "bias": torch.linspace(-1, 1, 8)}
CLASSES = "sentence_transformers.models."


def embedding(folder: Path, family: str = "bert", prompt: str = "") -> Model:
    """Load a folder for sentence embeddings."""
    if family in ("bert", "mpnet"):
        network = families.network(family)
        options = families.family(family).settings(max_length=24, prompt=prompt)
        return network.baseline(str(folder), _Texts(), options)  # type: ignore[arg-type]
    text = TextSettings(_encoders.MAX_LENGTH)
    kind = _encoders.described(family).kind
    return hugging_face.pretrained(str(folder), str(folder), (), text, kind, "embedding", prompt)


class _Texts:
    """The parts of a data set that a family reads."""

    columns, labels, task = ("text",), (), "embedding"


def saved(family: str, folder: Path) -> Path:
    if family == "bert":
        sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2}
        sizes |= {"num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 64}
        rows = len(_folders.vocabulary())
        _folders.lively(BertModel(BertConfig(vocab_size=rows, **sizes))).save_pretrained(folder)
        BertTokenizer(vocab=_folders.vocabulary()).save_pretrained(folder)
    elif family == "mpnet":
        _folders.of_mpnet(folder)
    else:
        _encoders.saved(family, folder)
    return folder


def inputs_of(model: Model, texts: tuple[str, ...] = TEXTS) -> dict[str, Tensor]:
    rows = [(text,) for text in texts]
    arrays = model.encoder.batch(model.encoder.encode(rows), range(len(rows)))
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


@torch.inference_mode()
def states(folder: Path, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return the vectors of the tokens in transformers' own encoder."""
    encoder: Any = AutoModel.from_pretrained(folder).eval()
    hidden: Tensor = encoder(**inputs).last_hidden_state
    return hidden


def mean(hidden: Tensor, mask: Tensor) -> Tensor:
    return torch.stack([row[kept.bool()].mean(0) for row, kept in zip(hidden, mask, strict=True)])


@pytest.mark.parametrize("family", FAMILIES)
def test_vectors_of_a_plain_folder_are_the_mean_of_transformers_tokens(
    family: str, tmp_path: Path
) -> None:
    folder = saved(family, tmp_path / family)
    model = embedding(folder, family)
    inputs = inputs_of(model)
    expected = mean(states(folder, inputs), inputs["attention_mask"])
    assert expected.std(dim=0).min() > 1e-3, "texts of one vector prove nothing"
    loaded = _bundles.saved(model, tmp_path / "model") if family == "bert" else model
    with torch.inference_mode():
        torch.testing.assert_close(output_of(loaded.module, inputs), expected, atol=1e-5, rtol=0)
        form = output_of(inference_form(loaded), inputs)
    torch.testing.assert_close(form, expected, atol=1e-5, rtol=0)


def sentence_folder(folder: Path, **changes: Any) -> Path:
    """Save a folder of sentence-transformers with every kind of module, in the older layout."""
    saved("bert", folder / "0_Transformer")
    kinds = ("Transformer", "Pooling", "Dense", "Dropout", "Normalize")
    modules = [
        {"idx": number, "name": str(number), "path": f"{number}_{kind}", "type": CLASSES + kind}
        for number, kind in enumerate(kinds)
    ]
    pooling = {"word_embedding_dimension": 16, "pooling_mode_cls_token": True}
    pooling |= {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False}
    dense = {"in_features": 32, "out_features": 8, "activation_function": "torch.nn.modules.Tanh"}
    prompts = {"prompts": {"query": PROMPT, "document": ""}, "default_prompt_name": "query"}
    contents = {
        "modules.json": modules,
        "1_Pooling/config.json": pooling,
        "2_Dense/config.json": dense,
        "config_sentence_transformers.json": prompts,
        "0_Transformer/sentence_bert_config.json": {"max_seq_length": 12, "do_lower_case": False},
        **changes,
    }
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    tensors = {f"linear.{name}": tensor for name, tensor in DENSE.items()}
    save_file(tensors, folder / "2_Dense" / "model.safetensors")
    return folder


def test_pooling_dense_normalization_and_prompt_are_those_of_the_folder(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "sentences")
    model = embedding(folder)
    assert model.encoder.longest() == {"sequence": 12}
    inputs = inputs_of(model)
    tokenizer = BertTokenizer.from_pretrained(folder / "0_Transformer")
    prompted = tokenizer([PROMPT + text for text in TEXTS], truncation=True, max_length=12)
    lengths = inputs["attention_mask"].sum(1).tolist()
    for ids, length, expected_ids in zip(
        inputs["input_ids"].tolist(), lengths, prompted["input_ids"], strict=True
    ):
        assert ids[:length] == expected_ids
    hidden = states(folder / "0_Transformer", inputs)
    pooled = torch.cat([hidden[:, 0], mean(hidden, inputs["attention_mask"])], dim=1)
    expected = normalize((pooled @ DENSE["weight"].T + DENSE["bias"]).tanh(), dim=1)
    loaded = _bundles.saved(model, tmp_path / "model")
    for module in (loaded.module, inference_form(loaded)):
        with torch.inference_mode():
            vectors = output_of(module, inputs)
        torch.testing.assert_close(vectors, expected, atol=1e-5, rtol=0)
    unprompted = embedding(folder, prompt="document")
    assert inputs_of(unprompted)["input_ids"].shape[1] < inputs["input_ids"].shape[1]


def test_a_folder_that_reads_longer_texts_is_noted(tmp_path: Path) -> None:
    longer = {"0_Transformer/sentence_bert_config.json": {"max_seq_length": 48}}
    model = embedding(sentence_folder(tmp_path / "sentences", **longer))
    assert model.encoder.longest() == {"sequence": 24}
    note = "cut to 24 tokens, not to the folder's 48"
    assert note in model.origin["pretrained"]["vectors"]


def test_newer_folders_name_their_pooling(tmp_path: Path) -> None:
    named = {"embedding_dimension": 16, "pooling_mode": "max"}
    modules = [
        {"path": "0_Transformer", "type": "sentence_transformers.base.modules.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.base.modules.Pooling"},
    ]
    changes: dict[str, Any] = {"1_Pooling/config.json": named, "modules.json": modules}
    folder = sentence_folder(tmp_path / "sentences", **changes)
    model = embedding(folder)
    inputs = inputs_of(model)
    hidden = states(folder / "0_Transformer", inputs)
    pairs = zip(hidden, inputs["attention_mask"], strict=True)
    expected = torch.stack([row[kept.bool()].max(0).values for row, kept in pairs])
    with torch.inference_mode():
        torch.testing.assert_close(output_of(model.module, inputs), expected, atol=1e-5, rtol=0)


def _modules(*kinds: str) -> list[dict[str, str]]:
    return [{"path": f"{n}_{kind}", "type": CLASSES + kind} for n, kind in enumerate(kinds)]


REFUSED: Mapping[str, tuple[dict[str, Any], type[BmcError], str]] = {
    "pooling": (
        {"1_Pooling/config.json": {"pooling_mode": "weightedmean"}},
        ArtifactError,
        "the pooling is weightedmean; bmc builds cls, max and mean",
    ),
    "module": (
        {"modules.json": _modules("Transformer", "Pooling", "CNN")},
        ArtifactError,
        "module 2 is a 'CNN', which bmc does not build",
    ),
    "unpooled": (
        {"modules.json": _modules("Transformer")},
        ArtifactError,
        "has no Pooling, so it gives no vector",
    ),
    "outside": (
        {"modules.json": [{"path": "../elsewhere", "type": CLASSES + "Pooling"}]},
        ArtifactError,
        "outside of the folder",
    ),
    "not_a_list": ({"modules.json": {"a": 1}}, ArtifactError, "must list 1 to 16 modules"),
    "sizes": (
        {"2_Dense/config.json": {"in_features": 16, "out_features": 8}},
        ArtifactError,
        "its weights do not fit its config.json",
    ),
    "activation": (
        {"2_Dense/config.json": {"in_features": 32, "out_features": 8, "activation_function": "x"}},
        ArtifactError,
        "bmc builds identity, tanh",
    ),
    "prompt_not_pooled": (
        {"1_Pooling/config.json": {"pooling_mode_cls_token": True, "include_prompt": False}},
        ArtifactError,
        "--set prompt=none",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_bmc_does_not_build_is_refused_by_name(name: str, tmp_path: Path) -> None:
    changes, error, message = REFUSED[name]
    if name == "prompt_not_pooled":
        changes = {**changes, "modules.json": _modules("Transformer", "Pooling")}
    folder = sentence_folder(tmp_path / "sentences", **changes)
    with pytest.raises(error, match=message.replace("(", r"\(")):
        embedding(folder)


@pytest.mark.parametrize("name", ["sentence_bert_config.json", "sentence_roberta_config.json"])
def test_texts_are_lower_cased_where_the_folder_says_so(name: str, tmp_path: Path) -> None:
    """The tokenizer itself keeps case; sentence-transformers lower-cases before it."""
    both = {}
    for lower_case in (False, True):
        folder = sentence_folder(tmp_path / str(lower_case))
        (folder / "0_Transformer" / "sentence_bert_config.json").unlink()
        settings = json.dumps({"max_seq_length": 11, "do_lower_case": lower_case})
        (folder / "0_Transformer" / name).write_text(settings)
        BertTokenizer.from_pretrained(
            folder / "0_Transformer", do_lower_case=False
        ).save_pretrained(folder / "0_Transformer")
        model = embedding(folder)
        assert model.encoder.longest() == {"sequence": 11}
        both[lower_case] = [
            model.encoder.batch(model.encoder.encode([(text,)]), [0])["input_ids"].tolist()
            for text in ("A GREAT Film", "a great film")
        ]
    assert both[True][0] == both[True][1] == both[False][1]
    assert both[False][0] != both[False][1]


def test_an_unknown_prompt_and_a_prompt_for_classes_are_refused(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "sentences")
    with pytest.raises(SettingError, match="the folder has query, document, none"):
        embedding(folder, prompt="passage")
    with pytest.raises(SettingError, match="take --task embedding"):
        bert.pretrained(str(folder), ("a", "b"), TextSettings(24), None, "query")


def test_the_built_in_encoders_make_vectors_as_their_authors_do() -> None:
    """MiniLM's have length 1; those of paraphrase-MiniLM-L3 have not."""
    options = families.family("bert").settings()
    lengths = {}
    for name in ("minilm", "minilm-l3"):
        model = families.network("bert").baseline(name, _Texts(), options)  # type: ignore[arg-type]
        with torch.inference_mode():
            lengths[name] = output_of(model.module, inputs_of(model)).norm(dim=1)
    torch.testing.assert_close(lengths["minilm"], torch.ones(len(TEXTS)))
    assert (lengths["minilm-l3"] > 2).all()
