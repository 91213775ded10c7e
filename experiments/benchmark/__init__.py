"""Speed, as ratios in one run: `python -m experiments.benchmark SUBJECT`."""
