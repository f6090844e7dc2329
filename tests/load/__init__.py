"""Tests of target-vonage-files."""
