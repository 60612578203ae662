"""A whole video: looked through, planned, worked on in segments, joined with its sound."""
