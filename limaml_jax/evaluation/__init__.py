"""How good scored rows are: metrics, cohorts, intervals, baselines, report."""
