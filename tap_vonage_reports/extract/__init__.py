"""Extraction: what a sync reads, by pages and by reports, in order of time."""
