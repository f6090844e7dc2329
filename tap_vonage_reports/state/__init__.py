"""The Singer state: its format, coverage, and the bookmark of a partition."""
