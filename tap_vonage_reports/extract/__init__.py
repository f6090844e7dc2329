"""Extraction: reads rows by pages and by reports, in time order."""
