"""Planning: the partitions of a run, its date range, and the windows that it reads."""
