"""What takes how long, for anyone to measure; `python -m benchmarks.bench` (`make bench`) runs most of it."""
