"""Train once-for-all supernets, search subnets for a device budget, extract and export them.

Importing this package imports nothing heavy; each part is imported when it is asked for.
"""

__version__ = "0.1.0.dev0"
