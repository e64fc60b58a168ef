"""RoBERTa for classification of texts or words.

Source: Liu et al. 2019, "RoBERTa: A Robustly Optimized BERT Pretraining Approach".
"""

from __future__ import annotations

from transformers import (
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
)

from bmc.models import _roberta

ENCODER = _roberta.encoder(
    "roberta", RobertaForSequenceClassification, RobertaForTokenClassification, RobertaConfig
)
NETWORK = ENCODER.network()
