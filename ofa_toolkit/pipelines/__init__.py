"""One use case a file: what a command of `ofa-tk` does, callable from Python."""
