"""Text, units, times, directories and files: helpers without state or policy."""
