"""Checks of latency tables: what cannot be true of a device, and copies of other tables."""
