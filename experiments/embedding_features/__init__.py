"""Embeddings of another run as features of items, of the time of an event."""
