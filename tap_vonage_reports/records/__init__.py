"""From the wire to typed records: JSON rows, CSV files in archives, personal data."""
