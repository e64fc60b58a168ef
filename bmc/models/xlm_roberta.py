"""XLM-RoBERTa for classification of texts or words.

Source: Conneau et al. 2020, "Unsupervised Cross-lingual Representation Learning at Scale".
"""

from __future__ import annotations

from transformers import (
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
    XLMRobertaForTokenClassification,
)

from bmc.models import _roberta

ENCODER = _roberta.encoder(
    "xlm-roberta",
    XLMRobertaForSequenceClassification,
    XLMRobertaForTokenClassification,
    XLMRobertaConfig,
)
NETWORK = ENCODER.network()
