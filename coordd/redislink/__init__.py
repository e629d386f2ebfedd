"""Redis as coordd speaks to it: one connection, what its failures mean in words, and the watch over both."""
