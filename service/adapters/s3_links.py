"""The Links port: presigned URLs (Signature Version 4, query parameters), for the address under which users reach storage.

The signature covers the host, so a URL that was signed for the service's own way to storage would be of no use outside: it is signed anew.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from botocore.exceptions import BotoCoreError

from service.adapters.s3_artifacts import client_of
from service.jobs.errors import StorageUnavailable

if TYPE_CHECKING:
    from service.settings import ApiSettings

SECONDS = 900
"""How long a URL is good, unless the credentials that signed it end before: a role's may."""
TURN_SECONDS = 300


class S3Links:
    """URLs below `endpoint_url`. Nothing is asked of storage for one."""

    def __init__(self, settings: ApiSettings, endpoint_url: str, *, seconds: int = SECONDS) -> None:
        self._client, self._bucket, self._seconds = client_of(settings, endpoint_url), settings.s3_bucket, seconds

    def to(self, key: str, *, content_type: str) -> str:
        """One that hands out this object to whoever has it. Raises StorageUnavailable where there are no credentials to sign with."""
        name = quote(key.rpartition("/")[2])
        # storage's own host shows nothing that a job made: it is kept as a file
        asked = {"ResponseContentDisposition": f"attachment; filename*=UTF-8''{name}", "ResponseContentType": content_type}
        try:
            return self._client.generate_presigned_url(
                "get_object", Params={"Bucket": self._bucket, "Key": key, **asked}, ExpiresIn=self._seconds
            )
        except BotoCoreError as error:
            raise StorageUnavailable(f"No address in storage can be signed: {error}.") from error

    @property
    def turn(self) -> int:
        """Changes every five minutes."""
        return int(time.time() // TURN_SECONDS)
