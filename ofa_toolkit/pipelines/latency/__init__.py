"""Latency tables: listing, measuring, importing, calibrating, auditing; timing files."""
