"""The `ofa-tk` command: parse, call one pipeline, print."""
