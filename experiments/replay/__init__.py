"""Replays a log through bundles, and says whether one may replace another."""
