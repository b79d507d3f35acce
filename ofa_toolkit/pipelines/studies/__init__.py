"""Studies: several recipes, each with several seeds, trained, measured alike and reported with intervals."""
