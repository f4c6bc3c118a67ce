"""Why storage cannot be used, and the cure: boto3's errors, and those of the way to the server, as StorageUnavailable."""

from __future__ import annotations

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from service.adapters.network_faults import cure_of
from service.jobs.errors import StorageUnavailable

_CREDENTIALS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_CLOCK = "This machine's clock is not the server's: set it right (NTP keeps it so: `timedatectl set-ntp true`)."
_CURES = {
    "InvalidAccessKeyId": "It does not know that key: correct AWS_ACCESS_KEY_ID.",
    "SignatureDoesNotMatch": "The secret does not belong to the key: correct AWS_SECRET_ACCESS_KEY.",
    "RequestTimeTooSkewed": _CLOCK,
    "RequestExpired": _CLOCK,
    "ExpiredToken": "The session has ended: give a new AWS_SESSION_TOKEN with its keys.",
    "InvalidToken": "It does not know that session: correct AWS_SESSION_TOKEN, or leave it out.",
    "NoSuchBucket": "The bucket is not there: correct S3_BUCKET, or start the API, which makes it.",
    "AccessDenied": f"That key may not do this: docs/howto/more-machines.md lists what it must be allowed, or correct {_CREDENTIALS}.",
}
_REGION = ("AuthorizationHeaderMalformed", "InvalidRegion", "PermanentRedirect", "IllegalLocationConstraintException", "301")


def is_elsewhere(error: ClientError) -> bool:
    """Whether the bucket, or the server, is of another region than was said."""
    return error.response.get("Error", {}).get("Code") in _REGION


def refused(error: ClientError, where: str) -> StorageUnavailable:
    """What to raise for an answer that is an error."""
    fault, answer = error.response.get("Error", {}), error.response["ResponseMetadata"]
    code, message, status = fault.get("Code", ""), fault.get("Message", "").rstrip("."), answer["HTTPStatusCode"]
    cure = _CURES.get(code, "")
    if "request time" in message:  # rclone calls this AccessDenied
        cure = _CLOCK
    elif is_elsewhere(error):
        region = answer.get("HTTPHeaders", {}).get("x-amz-bucket-region") or fault.get("Region")
        cure = f"The bucket is in another region: correct AWS_REGION{f', to {region}' if region else ''}."
    elif not cure and status in (401, 403):
        cure = f"Check {_CREDENTIALS}."
    said = f" {code}: {message}." if message and code != str(status) else ""
    return StorageUnavailable(f"Storage at {where} (S3_ENDPOINT_URL) answered {status}.{said}", cure=cure)


def unreachable(error: Exception, where: str) -> StorageUnavailable:
    """What to raise where there is no answer, or none that can be read."""
    if isinstance(error, NoCredentialsError):
        cure = f"Give {_CREDENTIALS}, or run where boto3 finds a profile or a role."
    else:
        beneath = error.kwargs.get("error") if isinstance(error, BotoCoreError) else None
        cure = cure_of(f"{error} {beneath}", url="S3_ENDPOINT_URL", ca="S3_CA_FILE", client="S3_ENDPOINT_URL", plain="http://")
    return StorageUnavailable(f"Storage at {where} (S3_ENDPOINT_URL) does not answer: {error}", cure=cure)
