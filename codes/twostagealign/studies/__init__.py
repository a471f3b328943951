"""Studies: ablation, demo, classical methods, benchmarks."""
