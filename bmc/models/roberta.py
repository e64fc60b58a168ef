"""RoBERTa for classification.

Source: Liu et al. 2019, "RoBERTa: A Robustly Optimized BERT Pretraining Approach".
"""

from __future__ import annotations

from transformers import RobertaConfig, RobertaForSequenceClassification

from bmc.models import _roberta

ENCODER = _roberta.encoder("roberta", RobertaForSequenceClassification, RobertaConfig)
NETWORK = ENCODER.network()
