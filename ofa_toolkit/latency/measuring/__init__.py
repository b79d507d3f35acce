"""Times networks on this machine and makes a latency table of them."""
