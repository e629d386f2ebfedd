"""Read the sessions of Codex: the rollouts that its processes hold open, and which process holds which."""
