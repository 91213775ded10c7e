"""The bundle: all that scores online, in one folder, and no training in it."""
