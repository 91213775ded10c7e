"""Logs to point-in-time tasks to padded, masked meta-batches.

`prepare` is the way in: `log/` opens and checks what the user brings, `tasks/`
orders, splits, encodes and stores it. `episodes` and `reader` draw from it.
"""
