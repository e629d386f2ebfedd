"""Simulate a machine on which agents work for a day, with a coordd that watches them and is watched."""
