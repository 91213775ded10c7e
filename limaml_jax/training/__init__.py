"""Meta-training on devices: state, sharded updates, checkpoints, the loop."""
