"""Decide what is known of agents: observations, verdicts, the store. Pure: no files, no clocks."""
