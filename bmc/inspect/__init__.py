"""Inspection of a model: costs and activations of its layers, feature importance, sensitivity."""
