"""Bring what sources read into the stores, and what changed there into records and events."""
