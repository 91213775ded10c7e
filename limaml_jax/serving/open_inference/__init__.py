"""The service under MLServer: the Open Inference Protocol, REST and gRPC.

A bundle's settings name these two; MLServer loads this module anew for each
model, and must not do so with what lies behind it.
"""

from limaml_jax.serving.open_inference.repository import Repository
from limaml_jax.serving.open_inference.runtime import Runtime

__all__ = ['Repository', 'Runtime']
