"""From a checked log to stored tasks, and back into memory."""
