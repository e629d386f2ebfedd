"""Build the one frozen configuration from file, environment and flags."""
