"""Serve a web page, an HTTP API and Prometheus metrics, in a process of its own.

The dashboard is a client of the control socket like any other: every number is the daemon's, and nothing can
be changed through it. It keeps one subscription to the daemon, whatever the number of its own readers. When
the daemon is down it answers with the reason.
"""
