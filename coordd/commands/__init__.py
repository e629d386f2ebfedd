"""Provide coordd's own command line: run, start, stop, restart, check-config, check-redis, service."""
