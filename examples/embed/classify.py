"""Classify lines of text with a bundle: no torch, no transformers."""

import sys

import bmc

with bmc.load(sys.argv[1], threads=1) as classify:
    for text in filter(None, map(str.strip, sys.stdin)):
        answer = classify(text)
        label = "rejected" if answer.rejected else answer.label
        print(f"{label}\t{answer.score:.3f}\t{text}")
