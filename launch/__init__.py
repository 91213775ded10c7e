"""Starting the binaries: on this machine, and on clusters."""
