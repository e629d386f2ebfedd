"""Tell people what needs them, in a process of its own that is a client of the control socket."""
