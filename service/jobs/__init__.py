"""What a job is: its states, its record, its ports and errors. Pure: pydantic and the standard library, nothing else."""
