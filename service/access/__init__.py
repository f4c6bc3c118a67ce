"""PURE: who may do what. Keys and their secrets, roles, projects, and what was done by whom. Knows no store, no HTTP."""
