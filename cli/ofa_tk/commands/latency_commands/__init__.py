"""The subcommands of `ofa-tk latency`, one a file."""
