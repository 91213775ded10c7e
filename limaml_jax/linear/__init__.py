"""Products of rows with kernels, shared by all tasks or adapted to one."""
