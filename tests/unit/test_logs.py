"""Log lines as a process of its own writes them: what each is about, and no secret in any."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.pages import ROOT

PASSWORD, KEY, SECRET = "pass%2Fword!", "an-api-key-of-ours", 'quo"ted\\secret'
PROGRAM = """
import logging, os, threading, warnings
from contextvars import copy_context
from service import logs
from service.settings import ApiSettings

settings = ApiSettings.read()
logs.configure(settings.log_format, secrets=settings.secrets, role="api")
log = logging.getLogger("trainyard")
with logs.about(job="job_1", attempt=2, project="mine"):
    log.warning("%s does not answer", settings.redis_url)
    inside = copy_context()
threading.Thread(target=inside.run, args=(lambda: log.info("beside"),)).start()
log.info("Authorization: Bearer %s, signed X-Amz-Signature=abcdef0123&x=1", os.environ["TRAINYARD_API_KEY"])
log.info("%s", os.environ["AWS_SECRET_ACCESS_KEY"], extra={"facts": {"status": 200, "key": os.environ["TRAINYARD_API_KEY"]}})
logging.getLogger("uvicorn.error").error("from a library: pass/word!")
logging.getLogger("celery").info("no news")
logging.getLogger(logs.ACCESS).info("GET / 200")
warnings.warn("from a library, too")

def fails():
    raise RuntimeError(f"cannot connect to {settings.redis_url} with {os.environ['AWS_SECRET_ACCESS_KEY']}")

thread = threading.Thread(target=fails, name="fails")
thread.start()
thread.join()
fails()
"""


def lines(format: str) -> list[str]:
    """What the program writes to stderr."""
    environment = {
        "PYTHONPATH": ":".join(path for path in sys.path if path),
        "TRAINYARD_LOG_FORMAT": format,
        "REDIS_URL": f"redis://jobs:{PASSWORD}@127.0.0.1:1/0",
        "AWS_ACCESS_KEY_ID": "one",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "TRAINYARD_API_KEY": KEY,
    }
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 1
    return done.stderr.splitlines()


def test_each_json_line_says_what_it_is_about():
    """The process, the block it came from and threads that took its context along; libraries, warnings and what nobody caught the same way."""
    told = [json.loads(line) for line in lines("json")]
    by_message = {line["message"].partition(": ")[0]: line for line in told}

    assert all(line["role"] == "api" and line["time"].endswith("Z") and line["level"] for line in told)
    first, beside = told[0], by_message["beside"]
    assert {name: first[name] for name in ("job", "attempt", "project", "level")} == {
        "job": "job_1",
        "attempt": 2,
        "project": "mine",
        "level": "warning",
    }
    assert (beside["job"], beside["attempt"]) == ("job_1", 2)
    assert "job" not in by_message["Authorization"]
    assert {"status": 200}.items() <= next(line for line in told if "status" in line).items()
    assert by_message["from a library"]["logger"] == "uvicorn.error"
    assert any("from a library, too" in line["message"] for line in told)
    assert "no news" not in by_message
    assert by_message["GET / 200"]["logger"] == "trainyard.access"
    uncaught = [line for line in told if line["level"] == "critical"]
    assert ["in thread fails" in line["message"] for line in uncaught] == [True, False]
    assert all("RuntimeError: cannot connect to redis://jobs:***@127.0.0.1:1/0 with ***" in line["exception"] for line in uncaught)


def test_no_line_of_either_format_has_a_secret():
    """Not the password of a URL, as it stands there or as it is; not a key, a signature, or what JSON has to escape."""
    for format in ("json", "text"):
        written = "\n".join(lines(format))

        for secret in (PASSWORD, "pass/word!", KEY, SECRET, json.dumps(SECRET)[1:-1], "abcdef0123"):
            assert secret not in written, (format, secret)
        assert written.count("***") >= 8


def test_lines_for_people_stay_as_they_were_and_tell_of_no_request():
    """Time, level, message."""
    written = lines("text")

    assert written[0].endswith(" WARNING redis://jobs:***@127.0.0.1:1/0 does not answer")
    assert not any("GET / 200" in line for line in written)
