"""LiMAML in JAX: per-entity personalization by meta-learning, end to end.

logs -> tasks -> meta-training -> meta embeddings -> store -> online scoring.
"""

__version__ = '0.1.0'
