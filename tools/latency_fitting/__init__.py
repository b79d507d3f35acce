"""How public measurements become latency tables. Used by `fit_latency_tables.py` and the benchmarks."""
