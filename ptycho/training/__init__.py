"""Losses meet batches: the Lightning side of the experiment."""
