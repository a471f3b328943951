"""A local page on which a burst is dropped, restored, compared and downloaded. It uses the public interface only."""
