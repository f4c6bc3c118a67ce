"""What a stranger meets: the job spec, the API, the command. It publishes the contract; `worker` depends on it, never the reverse."""
