"""Benchmarks, run by `script/bench`: ratios that are measured in one run on one machine."""
