"""A source as small as one can be: a file with the id of an agent and the time of its last beat a line."""
