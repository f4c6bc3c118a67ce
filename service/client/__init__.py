"""The Python SDK and the `trainyard` command. Talks HTTP only; never imports torch."""
