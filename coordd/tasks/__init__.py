"""Decide what is known of tasks and claims: who holds what, and since when. Pure."""
