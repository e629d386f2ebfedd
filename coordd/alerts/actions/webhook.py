"""Tell a message by POST: JSON, over HTTP or over TLS that is verified.

=================  =========================================================================================
what               how
=================  =========================================================================================
tries              three within one deadline, where the failure may pass (``replies.py``)
idempotency        every try has the header ``Idempotency-Key``, the id of the message
redirects          not followed, and said
answers            read up to 64 KiB; only the status counts
proxies            as the environment says: ``https_proxy``, ``http_proxy``, ``no_proxy``, or in capitals;
                   HTTP proxies, with a user if the URL has one; what is on this machine is asked directly
authorities        the system's, or those of ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``
user in the URL    is sent as HTTP basic authentication
=================  =========================================================================================

All of that happens in a child process (``post.py``), which gets the address through its stdin.
"""

from __future__ import annotations

from collections.abc import Mapping

from coordd.alerts.actions.address import address_of, public_host
from coordd.alerts.actions.python_child import PythonChild
from coordd.alerts.message import Message

DEADLINE = 30.0
"""Seconds for all tries."""
EACH = 10.0
"""Seconds for one of them."""
_TO_START = 5.0
"""Seconds for the start of Python on a loaded machine."""


class WebhookAction:
    """Post each message.

    Args:
        url: the address, a secret.
        environ: of the process that posts.
        deadline: seconds for all tries.
        each: seconds for one of them.

    Raises:
        ValueError: it is no address; the text does not repeat it.
    """

    def __init__(
        self, url: str, *, environ: Mapping[str, str], deadline: float = DEADLINE, each: float = EACH
    ) -> None:
        self.label = f"webhook {public_host(address_of(url).host)}"
        self._url = url
        self._deadline = deadline
        self._each = each
        self._child = PythonChild("coordd.alerts.actions.post", environ=environ, seconds=deadline + _TO_START)

    async def perform(self, message: Message) -> None:
        """Post the message.

        Raises:
            ActionFailed: no try was answered with success.
        """
        await self._child.ask(
            {
                "url": self._url,
                "id": message.id,
                "body": message.to_json().decode("ascii"),
                "seconds": self._deadline,
                "each": self._each,
            }
        )

    def check(self) -> str | None:
        """Return None: whether it answers is known once it is asked."""
        return None
