"""How good networks are: accuracy measured on images, and predicted without them."""
