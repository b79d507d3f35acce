"""Search for subnets: problems over populations, evolution by pymoo, local search, baselines (no torch)."""
