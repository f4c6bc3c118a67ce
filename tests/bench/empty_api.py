"""The least that FastAPI can do with a POST, on the server settings of `service.main`: `python -m tests.bench.empty_api PORT`."""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI

app = FastAPI()


@app.post("/v1/jobs", status_code=202)
async def accept(body: dict[str, Any]) -> dict[str, Any]:
    """Read a JSON object, answer with an empty one."""
    del body
    return {}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", timeout_graceful_shutdown=2)
