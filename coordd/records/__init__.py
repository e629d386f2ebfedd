"""Read past records from the record files: choose files by date, seek by time, stream, filter, thin.

Shared by the service (``history.query``) and its client (``coordctl history``), so it knows nothing of
either: values and the standard library only, and no asyncio. Memory is bounded by a few blocks, whatever the
files hold. The files are the only source; nothing is indexed or cached.

Records come in the order in which they were written, which is the order of time unless the clock was set
back. Even then the range that was asked for is found; see :mod:`coordd.records.seek`.
"""
