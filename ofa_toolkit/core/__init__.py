"""Foundations that every other part stands on: errors, names, units, configuration, files."""
