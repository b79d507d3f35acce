"""The subcommands of `ofa-tk study`."""
