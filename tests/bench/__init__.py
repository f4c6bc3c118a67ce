"""Measurements, run by `make bench`: figures for people to read, none of them asserted."""
