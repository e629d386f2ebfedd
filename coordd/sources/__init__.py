"""Read the traces that agents leave in files and in Redis; nothing is ever written to them."""
