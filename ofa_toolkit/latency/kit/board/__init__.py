"""The agent that runs on a board, in parts; a kit holds them put together into one file."""
