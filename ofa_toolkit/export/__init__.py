"""Files for deployment that hold what they promise: written, linted, verified, and built for their target."""
