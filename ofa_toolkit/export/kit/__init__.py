"""What a build kit takes to the board beside the network."""
