"""The daily job: adapt every entity, write a snapshot, publish it."""
