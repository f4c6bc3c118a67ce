"""What a user may ask for: the job spec as closed, typed records. Pure: pydantic and the standard library; torch is never imported."""
