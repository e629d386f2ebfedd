"""The dashboard: a web page, an HTTP API and Prometheus metrics, in a process of its own.

It is a client of the control socket and nothing more: every number is the daemon's, nothing is computed
twice, nothing can be changed through it. It keeps one subscription to the daemon, whatever the number of
its own readers, and answers when the daemon is down as well: with the reason.
"""
