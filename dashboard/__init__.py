"""The NOC page: gold's Delta tables, read directly, drawn in a browser on this machine."""
