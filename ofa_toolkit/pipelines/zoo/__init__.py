"""Lists, packages and verifies zoo entries."""
