"""Logs to point-in-time tasks to padded, masked meta-batches."""
