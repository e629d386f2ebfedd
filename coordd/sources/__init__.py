"""Where agents leave their traces, read and never written."""
