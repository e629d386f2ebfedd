"""Share between sources of sessions: where one works, when its transcript is read, what of it is new."""
