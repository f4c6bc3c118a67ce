"""The core: from a resolved spec to a trained model. Knows torch and `service.spec`; no Celery, Redis, S3 or HTTP lives here."""
