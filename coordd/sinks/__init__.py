"""Write records to where they are kept: bounded, retried, each sink isolated from the others."""
