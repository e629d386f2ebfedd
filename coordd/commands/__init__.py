"""The command line of coordd itself: run, start, stop, restart, check-config, service."""
