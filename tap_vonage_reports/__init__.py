"""Singer tap for the Vonage Reports API."""
