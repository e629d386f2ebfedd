"""Read what hooks of Claude Code leave in the user's state directory."""
