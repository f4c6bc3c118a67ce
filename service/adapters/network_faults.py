"""What keeps a process from reaching a server, and the cure: told from the words of TLS, DNS and the sockets, which clients wrap in errors of their own."""

from __future__ import annotations

_CURES = (
    ("certificate has expired", "The server's certificate has expired: renew it there; or this machine's clock is wrong."),
    ("certificate is not yet valid", "The server's certificate is not valid yet: this machine's clock is wrong, or the server's was."),
    ("is not valid for", "The server's certificate is for another host: write a name in {url} that the certificate has."),
    ("doesn't match", "The server's certificate is for another host: write a name in {url} that the certificate has."),
    ("self-signed certificate", "Nobody who is trusted here vouches for the server's certificate: name the file of its CA in {ca}."),
    ("unable to get local issuer", "Nobody who is trusted here vouches for the server's certificate: name the file of its CA in {ca}."),
    ("certificate verify failed", "The server's certificate is not accepted: name the file of its CA in {ca}."),
    ("certificate required", "The server wants a certificate of yours, too: {client}."),
    ("wrong version number", "No TLS is spoken there: write {plain} in {url}, or the port that speaks it."),
    ("record layer failure", "No TLS is spoken there: write {plain} in {url}, or the port that speaks it."),
    ('valid response from endpoint url: "http://', "Where TLS is spoken {url} is https://."),
    ("name or service not known", "There is no host of that name: correct {url}."),
    ("temporary failure in name resolution", "The host's name cannot be looked up: correct {url}, or this machine's DNS."),
    ("no address associated", "There is no host of that name: correct {url}."),
    ("connection refused", "Nobody listens there: start the server, or correct {url}."),
    ("no route to host", "No way leads to that host: correct {url}, or the network between."),
    ("network is unreachable", "No way leads to that host: correct {url}, or the network between."),
)


def cure_of(said: object, *, url: str, ca: str, client: str, plain: str) -> str:
    """The cure of what an error said, or an empty string. `url` and `ca` are the variables to correct, `plain` the scheme without TLS."""
    words = str(said).lower()
    return next((cure.format(url=url, ca=ca, client=client, plain=plain) for sign, cure in _CURES if sign in words), "")
