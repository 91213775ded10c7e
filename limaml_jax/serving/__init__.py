"""The online half: scores with the global block and stored embeddings alone.

Nothing here can train: neither the meta block nor `meta` is imported.
"""
