"""Reads the once-for-all authors' checkpoints and networks."""
