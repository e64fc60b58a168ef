"""N-grams of tokens beside a transformer: what they add, and every verb and target on them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bmc import artifact
from bmc.compress.distill.weighted import Weighted
from bmc.compress.prune.depth import Depth
from bmc.compress.prune.nm import NM
from bmc.compress.prune.structured import Structured
from bmc.compress.prune.unstructured import Unstructured
from bmc.compress.prune.vocabulary import Vocabulary
from bmc.compress.quantize.dynamic import Dynamic
from bmc.compress.quantize.fp16 import Fp16
from bmc.compress.quantize.static import Static
from bmc.compress.quantize.weights import Weights
from bmc.compress.share.cluster import Cluster
from bmc.compress.share.embedding import FactorizedEmbedding
from bmc.compress.share.lowrank import LowRank
from bmc.contracts import families
from bmc.data import Dataset
from bmc.errors import ArtifactError, SettingError, UsageError
from bmc.inference.form import inference_form
from bmc.inference.token_ngrams import TokenNgrams, width_for
from bmc.model import Model, Record, Step, Work, output_of
from bmc.models import bert, transformer
from bmc.training.settings import TrainingSettings
from bmc.training.work import work_for
from bmc.workflows import distill
from bmc.workflows.data import DataSource
from bmc.workflows.options import Output
from bmc.workflows.preparation import with_preparation
from bmc.workflows.tuning import Distillation
from tests.models import _bundles

Make = Callable[..., Model]
WHOLE = bert.Size(layers=2, hidden=32, intermediate=64, start="teacher", ngrams=64)


def student_of(teacher: Model, data: Dataset, classes: int = 2) -> Model:
    """Return a BERT whose n-grams decide as much as its layers do."""
    if classes > 2:  # wider rows than those of two classes, which stay in float
        names = tuple(f"class {index}" for index in range(classes))
        spec = {**teacher.spec, "id2label": dict(enumerate(names))}
        spec["label2id"] = {name: index for index, name in enumerate(names)}
        module = bert.build(spec)
        torch.manual_seed(0)
        with torch.no_grad():
            module.get_parameter("classifier.weight").normal_()
        kept = {k: v for k, v in teacher.module.state_dict().items() if "classifier" not in k}
        module.load_state_dict({**module.state_dict(), **kept})
        teacher = replace(teacher, module=module, spec=spec, labels=names)
        data = replace(data, labels=names)
    student = bert.student(teacher, WHOLE, data)
    torch.manual_seed(1)
    with torch.no_grad():
        student.module.get_parameter("ngrams.table.weight").normal_(std=0.5)
    return student


def logits_of(model: Model, inputs: dict[str, Tensor]) -> Tensor:
    with torch.inference_mode():
        return output_of(model.module.eval(), inputs)


def test_the_vectors_of_tokens_and_of_neighbors_are_summed_without_the_padding() -> None:
    branch = TokenNgrams(buckets=1000, width=3, outputs=5)
    with torch.no_grad():
        branch.table.weight.normal_()
    ids, mask = torch.tensor([[7, 900, 30_000, 4]]), torch.tensor([[1, 1, 1, 0]])
    buckets = [7, 900, 0, 257 * 7 % 1000, (251 * 7 + 257 * 900) % 1000]
    buckets.append((251 * 900 + 257 * 30_000) % 1000)
    expected = branch.project(branch.table.weight[buckets].sum(dim=0) / 6**0.5)
    torch.testing.assert_close(branch(ids, mask)[0], expected)
    longer = torch.cat([ids, ids], dim=1), torch.cat([mask, mask * 0], dim=1)
    torch.testing.assert_close(branch(*longer)[0], expected)


@pytest.mark.parametrize(("classes", "width"), [(1, 1), (2, 1), (5, 4), (100, 16)])
def test_rows_are_as_wide_as_a_linear_model_can_use(classes: int, width: int) -> None:
    assert width_for(classes) == width


def test_rows_of_several_labels_have_a_number_for_each(make_lively: Make, reviews: Dataset) -> None:
    assert width_for(100, are_independent=True) == 16
    data = replace(reviews, task="multilabel")
    student = bert.student(replace(make_lively(), task="multilabel"), WHOLE, data)
    built = transformer.baseline("transformer", data, transformer.Settings(ngrams=64))
    for model in (student, built):
        assert model.module.get_parameter("ngrams.table.weight").shape == (64, len(data.labels))


def test_before_it_is_taught_a_student_predicts_as_without_n_grams(
    make_lively: Make, reviews: Dataset, tmp_path: Path
) -> None:
    students = []
    for ngrams in (0, 64):
        torch.manual_seed(0)
        students.append(bert.student(make_lively(), replace(WHOLE, ngrams=ngrams), reviews))
    plain, added = students
    for inputs in bert.examples(plain.module):
        torch.testing.assert_close(logits_of(added, inputs), logits_of(plain, inputs))
    assert added.module.get_parameter("ngrams.table.weight").shape == (64, 1)
    loaded = _bundles.saved(added, tmp_path / "student")
    assert loaded.spec["ngram_buckets"] == 64
    assert bert.build(plain.spec).state_dict().keys() == plain.module.state_dict().keys()


def test_a_student_of_a_teacher_with_n_grams_has_none_unless_it_is_told_to(
    make_lively: Make, reviews: Dataset
) -> None:
    teacher = student_of(make_lively(), reviews)
    for start in ("teacher", "embeddings"):
        student = bert.student(teacher, replace(WHOLE, start=start, ngrams=0), reviews)
        assert not hasattr(student.module, "ngrams")
        bert.build(json.loads(json.dumps(student.spec)))
    again: Any = bert.student(teacher, replace(WHOLE, ngrams=32), reviews).module
    assert again.ngrams.is_untrained()


def test_all_forms_of_a_bert_add_the_same(make_lively: Make, reviews: Dataset) -> None:
    student = student_of(make_lively(), reviews)
    network = families.network("bert")
    assert network.training_form is not None
    assert network.view is not None
    for inputs in bert.examples(student.module):
        expected = logits_of(student, inputs)
        with torch.inference_mode():
            taught = network.training_form(student.module)(inputs)
            viewed = network.view(student.module, inputs).logits
            exported = output_of(inference_form(student), inputs)
        for result in (taught, viewed, exported):
            torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-6)
        without: Any = student.module.get_submodule("ngrams.table")
        with torch.no_grad():
            table = without.weight.clone()
            without.weight.zero_()
            assert (logits_of(student, inputs) - expected).abs().max() > 0.1
            without.weight.copy_(table)


@pytest.fixture
def work(reviews: Dataset, tmp_path: Path) -> Work:
    settings = TrainingSettings(epochs=1, precision="fp32", device="cpu")
    return work_for(reviews, (), settings, tmp_path, tmp_path, artifact.load, run="")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "step",
    [
        *(Structured(), Structured(what=("width", "hidden", "heads")), Depth(rule="last"), NM()),
        *(Unstructured(), Cluster(values=16, groups=2), LowRank(energy=0.5)),
        FactorizedEmbedding(energy=0.5),
    ],
    ids=lambda step: type(step).__name__,
)
def test_a_step_rebuilds_and_its_inference_form_answers_as_the_module(
    step: Step, make_lively: Make, reviews: Dataset, work: Work
) -> None:
    changed, rebuilt = (student_of(make_lively(), reviews, classes=20) for _ in range(2))
    record: Record = json.loads(json.dumps(step.apply(changed, work)))
    assert record
    type(step).rebuild(rebuilt, record)
    rebuilt.module.load_state_dict(changed.module.state_dict())
    for inputs in bert.examples(changed.module):
        expected = logits_of(changed, inputs)
        assert torch.equal(logits_of(rebuilt, inputs), expected)
        with torch.inference_mode():
            result = output_of(inference_form(changed), inputs)
        torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize(
    ("step", "tolerance"),
    [
        *((Static(samples=16), 0.1), (Dynamic(), 0.1), (Weights(), 0.05)),
        *((Weights(bits=4, samples=16), 0.6), (Fp16(samples=8), 0.01)),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("classes", [2, 20])
def test_a_quantized_student_answers_nearly_as_before(
    step: Any, tolerance: float, classes: int, make_lively: Make, reviews: Dataset, work: Work
) -> None:
    student = student_of(make_lively(layers=2), reviews, classes)
    (_, inputs) = bert.examples(student.module)
    expected = logits_of(student, inputs)
    assert step.apply(student, work)
    error = (logits_of(student, inputs) - expected).abs().mean()
    assert error < tolerance * expected.std()


def test_the_vocabulary_is_pruned_before_n_grams_are_taught_and_not_after(
    make_lively: Make, reviews: Dataset, work: Work
) -> None:
    untaught = bert.student(make_lively(), replace(WHOLE, layers=1), reviews)
    assert Vocabulary(margin=0, max_split=1).apply(untaught, work)
    with pytest.raises(UsageError, match=r"distill a new student with --vocabulary"):
        Vocabulary().apply(student_of(make_lively(), reviews), work)


def test_n_grams_that_are_taught_before_the_vocabulary_is_pruned_are_refused_at_once() -> None:
    settings = Distillation(
        settings={"ngrams": "64"}, vocabulary="1000", signals="hidden=1", signal_order="together"
    )
    steps = [("distill/weighted", Weighted("t", "0", {"logits": 1.0, "hidden": 1.0}))]
    with pytest.raises(UsageError, match=r"--vocabulary 1000.*--signal-order first"):
        with_preparation(steps, settings, TrainingSettings())
    first = [("distill/weighted", Weighted("t", "0", {"hidden": 1.0}))]
    logits = [("distill/logits", Weighted("t", "0", {"logits": 1.0}))]
    prepared = with_preparation([*first, *logits], settings, TrainingSettings())
    assert [method for method, _ in prepared] == [
        *("distill/weighted", "prune/vocabulary", "distill/logits")
    ]


@pytest.mark.parametrize("ngrams", [-1, 2**24 + 1])
def test_a_number_of_buckets_out_of_range_is_refused_with_the_way_out(ngrams: int) -> None:
    for settings in (bert.Size, bert.Settings, transformer.Settings):
        with pytest.raises(SettingError, match=rf"ngrams is {ngrams}.*or 0 for no"):
            settings(ngrams=ngrams)


def test_tags_of_words_and_vectors_are_refused(
    make_lively: Make, hf_folder: Path, reviews: Dataset
) -> None:
    words = replace(reviews, kind="words", task="tokens")
    with pytest.raises(SettingError, match=r"here each word has a tag; leave ngrams out"):
        transformer.baseline("transformer", words, transformer.Settings(ngrams=64))
    teacher = make_lively()
    spec = {**teacher.spec, "architectures": ["BertForTokenClassification"]}
    tagger = replace(teacher, module=bert.build(spec), spec=spec, task="tokens")
    with pytest.raises(SettingError, match=r"ngrams is 64.*the task is tokens; leave ngrams out"):
        bert.student(tagger, replace(WHOLE, start="embeddings"), words)
    vectors = replace(reviews, task="embedding")
    with pytest.raises(SettingError, match=r"the task is embedding; leave ngrams out"):
        bert.baseline(str(hf_folder), vectors, bert.Settings(max_length=64, ngrams=64))


@pytest.mark.parametrize("changes", [{"ngram_buckets": 0}, {"ngram_width": 10**9}])
def test_a_configuration_out_of_range_is_refused(
    changes: dict[str, Any], make_lively: Make, reviews: Dataset
) -> None:
    spec = bert.student(make_lively(), WHOLE, reviews).spec
    with pytest.raises(ArtifactError, match=next(iter(changes))):
        bert.build({**spec, **changes})
    sizes = {"layers": 1, "hidden": 8, "heads": 2, "feed_forward": 8, "dropout": 0.0, "outputs": 2}
    texts = {"vocabulary": 50, "columns": 1, "max_length": 16}
    with pytest.raises(ArtifactError, match=next(iter(changes))):
        transformer.build({**sizes, **texts, "ngram_buckets": 8, "ngram_width": 1, **changes})


def test_a_regression_starts_around_its_labels(make_lively: Make, reviews: Dataset) -> None:
    train = replace(reviews.train, labels=[1000.0 + index for index in range(len(reviews.train))])
    data = replace(reviews, labels=(), task="regression", train=train)
    model = transformer.baseline("transformer", data, transformer.Settings(ngrams=64))
    assert model.module.get_parameter("ngrams.table.weight").shape == (64, 1)
    assert [path for path, _ in model.module.named_modules()][-1] == "classifier"


def test_a_student_is_pretrained_cut_and_taught_with_n_grams(
    lively_folder: Path, reviews_csv: Path, tmp_path: Path
) -> None:
    settings = Distillation(
        *("tiny", 1, 16, None, {"ngrams": "64"}, "4000", 1),
        signals="relation=1",
        epochs=1,
        transfer="none",
        device="cpu",
        precision="fp32",
    )
    source, output = DataSource(data=str(reviews_csv)), Output(tmp_path / "student")
    made = distill.distill(str(lively_folder), source, settings, output)
    student: Any = artifact.load(made.path)
    assert not student.module.ngrams.is_untrained()
    assert student.spec["ngram_buckets"] == 64
    assert student.module.bert.embeddings.word_embeddings.num_embeddings == 4000
    assert [step.method for step in student.steps] == [
        *("distill/masked", "distill/weighted", "prune/vocabulary", "distill/logits")
    ]
