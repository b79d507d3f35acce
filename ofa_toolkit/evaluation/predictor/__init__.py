"""Predicts a subnet's accuracy: choices, training, intervals, file format."""
