"""Collect helpers without state or policy: text, units, times, directories, files, log limits, sd_notify."""
