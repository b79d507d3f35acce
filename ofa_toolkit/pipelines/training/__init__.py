"""Trains and fine-tunes: recipes, runs, dry runs, studies."""
