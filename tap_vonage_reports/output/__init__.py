"""Output: Singer messages on standard output, and BATCH files."""
