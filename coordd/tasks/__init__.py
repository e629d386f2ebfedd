"""Decide what is known of tasks and claims: which agent holds what, and since when. Pure."""
