"""The HTTP edge: routes, views, problems. It calls use cases and never meets an adapter."""
