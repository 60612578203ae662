"""Evaluation as the field does it: datasets, protocols, metrics, reports (`python3 -m benchmark.NAME`)."""
