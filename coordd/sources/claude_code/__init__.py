"""Read the sessions of Claude Code: what they leave in its home by themselves."""
