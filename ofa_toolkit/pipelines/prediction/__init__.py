"""What is on a user's pictures: which files, by which model, with which probabilities."""
