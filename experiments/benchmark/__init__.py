"""Speed, as ratios within one run: `python -m experiments.benchmark SUBJECT`."""
