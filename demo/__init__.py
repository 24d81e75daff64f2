"""The demo: an embedded AWS and producers that write to it as they would to AWS."""
