"""Learning on one task, and meta-learning over many; knows no network."""
