"""Machine learning on the lakehouse: what is foretold, trained, judged and scored."""
