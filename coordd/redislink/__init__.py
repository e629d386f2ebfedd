"""Connect to one Redis: the connection, its failures in words, and the supervision of both."""
