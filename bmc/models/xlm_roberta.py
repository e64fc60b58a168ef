"""XLM-RoBERTa for classification.

Source: Conneau et al. 2020, "Unsupervised Cross-lingual Representation Learning at Scale".
"""

from __future__ import annotations

from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

from bmc.models import _roberta

ENCODER = _roberta.encoder("xlm-roberta", XLMRobertaForSequenceClassification, XLMRobertaConfig)
NETWORK = ENCODER.network()
