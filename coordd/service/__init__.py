"""Build, start and end the daemon; the only folder that builds things."""
