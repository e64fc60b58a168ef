"""Make the folders that fuzz cases change: python -m tests.fuzz.make_seeds writes seeds.zip.

Small untrained models of every kind of input, their bundles, and models after steps. They are kept
in the repository so that a case of the corpus means the same for ever.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from bmc import artifact
from bmc import data as datasets
from bmc.contracts import families
from bmc.contracts.techniques import technique
from bmc.data import Dataset
from bmc.export import ExportOptions, flow
from bmc.export.source import source_of
from bmc.model import AppliedStep, Model
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for
from tests.fuzz._edits import SEEDS

TARGETS = ("onnx", "openvino", "pytorch")
_WORDS = ("good", "bad", "film", "plot", "slow", "bright", "dull", "fine", "long", "short")
_SMALL = {"layers": 1, "hidden": 8, "heads": 2, "feed_forward": 8, "vocabulary": 300}
_STEPS: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "text": (
        ("share/lowrank", {"energy": 0.5}),
        ("prune/structured", {"ratio": 0.3}),
        ("share/cluster", {"values": 4, "groups": 1}),
        ("prune/unstructured", {}),
        ("prune/vocabulary", {"margin": 0, "max_split": 1.0}),
        ("quantize/weights", {"bits": 8}),
        ("quantize/dynamic", {}),
        ("quantize/bf16", {}),
    ),
    "image": (("quantize/static", {}), ("prune/structured", {"ratio": 0.3})),
    "bert": (
        ("share/layers", {}),
        ("share/embedding", {"energy": 0.5}),
        ("prune/depth", {"ratio": 0.5}),
    ),
}


def main() -> None:
    """Train nothing, export everything, and pack it."""
    with tempfile.TemporaryDirectory() as name:
        work, packed = Path(name), Path(name) / "packed"
        packed.mkdir()
        for kind, (model, data) in _models(work).items():
            folder = artifact.save(model, packed / kind)
            for target in TARGETS if kind != "bert" else ():
                with source_of(folder, data, ExportOptions()) as source:
                    flow.export(source, target, packed / f"{kind}-{target}", force=False)
            for method, settings in _STEPS.get(kind, ()):
                stepped = _stepped(artifact.load(folder), data, method, settings, work)
                artifact.save(stepped, packed / f"{kind}-{method.replace('/', '-')}")
        with zipfile.ZipFile(SEEDS, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for path in sorted(packed.rglob("*")):
                if path.is_file():
                    info = zipfile.ZipInfo(path.relative_to(packed).as_posix())
                    info.compress_type = zipfile.ZIP_DEFLATED
                    archive.writestr(info, path.read_bytes())
        shutil.rmtree(packed)


def _models(work: Path) -> dict[str, tuple[Model, Dataset]]:
    table = work / "reviews.csv"
    rows = [
        f"a {_WORDS[n % 10]} {_WORDS[n // 7 % 10]} film number {n},{('good', 'bad')[n % 2]}"
        for n in range(200)
    ]
    table.write_text("text,label\n" + "\n".join(rows) + "\n")
    texts, digits, vowels = (
        datasets.load(name) for name in (str(table), "digits", "japanese-vowels")
    )
    created = {
        "text": (_baseline("transformer", "transformer", texts, _SMALL), texts),
        "image": (_baseline("mlp", "mlp", digits, {"width": 8, "depth": 1}), digits),
        "series": (_baseline("recurrent", "gru", vowels, {"hidden": 8, "layers": 1}), vowels),
    }
    created["bert"] = (_bert(created["text"][0]), texts)
    for model, data in created.values():
        model.data = {**model.data, "reference": "a table", "fingerprint": data.fingerprint}
    return created


def _baseline(family: str, name: str, data: Dataset, settings: dict[str, Any]) -> Model:
    torch.manual_seed(0)
    module = families.network(family)
    model: Model = module.baseline(name, data, families.family(family).settings(**settings))
    with torch.no_grad():  # fresh outputs hardly differ from row to row
        output = module.parts(model.module).outputs[0]
        model.module.get_parameter(f"{output}.weight").mul_(20)
    return model


def _bert(text: Model) -> Model:
    """Build a small BERT with the tokenizer of another model."""
    bert = families.network("bert")
    spec = {
        "model_type": "bert",
        "vocab_size": text.spec["vocabulary"],
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "max_position_embeddings": 256,
        "type_vocab_size": 2,
        "id2label": {"0": text.labels[0], "1": text.labels[1]},
        "label2id": {text.labels[0]: 0, text.labels[1]: 1},
    }
    torch.manual_seed(0)
    return Model(bert.build(spec), "bert", spec, text.labels, text.encoder)


def _stepped(
    model: Model, data: Dataset, method: str, settings: dict[str, Any], work: Path
) -> Model:
    step = technique(method).step(**settings)
    quick = TrainingSettings(epochs=1, precision="fp32", device="cpu")
    cache = work / "cache"
    means = work_for(data, (), quick, cache, cache, lambda name: artifact.load(Path(name)), run="")
    record = step.apply(model, means)
    model.steps = [AppliedStep(method, asdict(step), record, 0, 0.0)]
    return model


if __name__ == "__main__":
    main()
