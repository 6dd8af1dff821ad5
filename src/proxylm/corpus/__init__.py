"""Corpora: readers that turn files and data sets into documents of exact bytes."""
