"""Store: versioned snapshots of meta embeddings between refresh and serving.

The refresh writes and publishes through `snapshot`, the online path reads
through `lookup`. Nothing here imports jax, directly or indirectly.
"""
