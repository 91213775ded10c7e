"""A process that joins the cluster it is told of, for tests of launchers."""

from limaml_jax import cluster

if __name__ == '__main__':
  cluster.join(required=True, peer_timeout_seconds=10)
