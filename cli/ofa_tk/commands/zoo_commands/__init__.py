"""The subcommands of `ofa-tk zoo`, one a file."""
