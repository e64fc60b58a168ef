"""Signals of distillation beside the answers: what a teacher computes on the way. One a file."""
