"""What a run has to read: partitions, date ranges, windows."""
