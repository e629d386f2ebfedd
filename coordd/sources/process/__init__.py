"""See coding agents whose own files are not read, by their processes alone."""
