"""Searches subnets for a budget, one or a whole front, and reports on them."""
