"""Studies: one question each, answered by runs that studies share."""
