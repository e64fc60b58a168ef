"""A BERT classifier with hashed n-grams of its tokens, added to the vector of its [CLS] token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification

from bmc.contracts.tasks import EMBEDDING, TOKENS, task
from bmc.errors import SettingError
from bmc.families.ngram import MOST_BUCKETS, MOST_WIDTH
from bmc.inference.token_ngrams import TokenNgrams, width_for
from bmc.model import Model
from bmc.models import hugging_face
from bmc.models._hugging_face_config import FamilyKeys

_BUCKETS, _WIDTH, _CLASSES = "ngram_buckets", "ngram_width", "architectures"
_Classifier: Any = BertForSequenceClassification


class BertWithNgrams(_Classifier):  # type: ignore[misc]  # Any
    """A BERT classifier that reads its pooled [CLS] vector plus a vector of the tokens' n-grams.

    Args:
        config: a BertConfig with `ngram_buckets` and `ngram_width`.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.ngrams = TokenNgrams(config.ngram_buckets, config.ngram_width, config.hidden_size)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Return logits (rows, classes) for int64 ids, mask and types (rows, length)."""
        encoded = self.bert(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        read = encoded.pooler_output + self.ngrams(input_ids, attention_mask)
        return self.classifier(self.dropout(read))  # type: ignore[no-any-return]


KIND = hugging_face.Architecture(
    "bert",
    BertWithNgrams,
    BertConfig,
    fresh=(),
    output="classifier",
    keys=FamilyKeys(integers={_BUCKETS: (1, MOST_BUCKETS), _WIDTH: (1, MOST_WIDTH)}),
)


def with_ngrams(model: Model, buckets: int) -> Model:
    """Return a BERT classifier with untrained n-grams, which do not change its outputs yet.

    Args:
        model: a BERT classifier of texts.
        buckets: number of buckets that n-grams are hashed into.

    Raises:
        SettingError: the model makes vectors of texts, or classifies words.
    """
    if model.task in (EMBEDDING, TOKENS):
        raise SettingError(
            f"ngrams is {buckets}: n-grams of a whole text are added to the vector that a "
            f"classifier of texts reads, and the task is {model.task}; leave ngrams out"
        )
    has_several_labels = task(model.task).thresholds is not None
    width = width_for(max(len(model.labels), 1), has_several_labels)
    spec = {**model.spec, _CLASSES: [BertWithNgrams.__name__], _BUCKETS: buckets, _WIDTH: width}
    old: Any = model.module
    module: Any = hugging_face.build(spec, KIND)
    module.load_state_dict({**module.state_dict(), **old.state_dict()})
    module.set_attn_implementation(old.config._attn_implementation)
    return replace(model, module=module, spec=spec)


def without_ngrams(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of the same BERT without n-grams."""
    plain = {key: value for key, value in spec.items() if key not in (_BUCKETS, _WIDTH)}
    if KIND.is_named_in(spec):
        plain[_CLASSES] = [BertForSequenceClassification.__name__]
    return plain
