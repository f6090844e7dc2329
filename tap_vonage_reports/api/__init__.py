"""The Reports API over HTTP: one method per endpoint, transport, retries, rate limits."""
