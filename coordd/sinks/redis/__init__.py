"""Write samples to Redis after they were written to the record files, with keys that expire.

The record files are the backlog: of the records that wait, some thousand recent ones are kept in memory, and
older ones are read back from the files. Records of a topic reach Redis in the order of writing; every write
may be repeated without harm.
"""
