"""`python -m service.client.cli` is `trainyard`."""

from service.client.cli import main

main()
