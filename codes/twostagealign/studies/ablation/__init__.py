"""The ablation: networks that lack a part each, and methods without a network, on the same bursts."""
