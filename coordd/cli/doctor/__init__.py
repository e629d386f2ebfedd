"""Find what is wrong with an installation, and say how to mend it."""
