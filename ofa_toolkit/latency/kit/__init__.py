"""Measuring kits: networks and one file that times them on a board without modern Python."""
