"""The async path: report jobs, requested, polled, downloaded, verified."""
