"""Samples into Redis: what was written to the record files, for as long as the keys live there.

The record files are the backlog: beyond some thousand recent records nothing that waits is kept in memory, it
is read back. Records of a topic reach Redis in the order of writing, and every write may be repeated.
"""
