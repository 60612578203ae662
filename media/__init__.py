"""Pixels in and out of files, and resizing them."""
