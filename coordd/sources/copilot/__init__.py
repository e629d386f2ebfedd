"""Read the sessions of Copilot: the folders that its processes lock, and what happens in each."""
