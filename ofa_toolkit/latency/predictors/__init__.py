"""Predicts latency from a table, layer by layer or by a fitted model. No torch."""
