"""The progress of a run, as lines in the log or as a live bar."""
