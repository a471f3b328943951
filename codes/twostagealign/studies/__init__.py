"""What was measured: ablation, demo, classical methods, benchmarks."""
