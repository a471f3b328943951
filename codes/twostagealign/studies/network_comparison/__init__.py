"""The comparison of networks that were trained alike."""
