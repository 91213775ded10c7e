"""The online half: scores with an exported bundle and stored embeddings alone.

Nothing here can train, nor needs what does: neither flax nor a block is
imported, only what `requirements-serving.txt` names.
"""
