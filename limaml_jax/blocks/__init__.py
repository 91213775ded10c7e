"""The network of one example: encoder, meta block, global block; all pure."""
