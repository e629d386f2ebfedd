"""Past records, read from the record files: chosen by date, sought by time, streamed, filtered, thinned.

Shared by the service (``history.query``) and its client (``coordctl history``), so it knows nothing of
either: values and the standard library only, and no asyncio. Memory is bounded by a few blocks, whatever the
files hold. The files are the truth; nothing is indexed or cached.

Records are given out in the order in which they were written, which is by time for as long as nobody sets the
clock back. What lies in the range asked for is found all the same: see :mod:`coordd.records.seek`.
"""
