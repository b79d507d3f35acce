"""The zoo: pretrained supernets described by cards, fetched safely, kept where they can be trusted."""
