"""Install hooks of Claude Code, and take them out again."""
