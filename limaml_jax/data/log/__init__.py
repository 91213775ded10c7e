"""The log as it comes: schema, files, and every check on entry."""
