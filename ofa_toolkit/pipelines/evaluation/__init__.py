"""Measures accuracy: of subnets, fronts and random populations, and builds predictors from it."""
