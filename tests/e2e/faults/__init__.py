"""Faults, caused: a proxy that harms connections, a checker of histories, chaos, and a test for each row of docs/faults.md."""
