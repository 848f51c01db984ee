"""Which values no log, page or error may show.

Narrower than what ``config show`` masks: a word that is hidden there is hidden once, here wherever it stands in the
log.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from bridge.settings.load import Settings

#: librdkafka properties whose value lets somebody in.
_OPENS = re.compile(
    r"password|secret|token$|credential|jaas|key\.pem|user\.info|sasl\.oauthbearer\.config", re.IGNORECASE
)


def secrets_of(settings: Settings) -> Iterator[str]:
    """Give every secret of the settings, opened; the token's file is read elsewhere, again and again."""
    upstream, kafka = settings.upstream, settings.kafka
    for given in (upstream.token, kafka.sasl_password, kafka.ssl_key_password):
        if given is not None:
            yield given.get_secret_value()
    if upstream.url is not None and (password := urlsplit(upstream.url).password):
        yield unquote(password)
    yield from (str(value) for name, value in kafka.extra.items() if _OPENS.search(name))
