"""What people see: metrics, health, status, the page and the logs.

Everything here reads: the feed and the control thread publish snapshots, and this room turns the newest ones into text
when somebody asks. It holds no state of its own and counts nothing.
"""

from bridge.observe.http import HttpServer
from bridge.observe.logs import Limited, get_logger, hook_uncaught, setup
from bridge.observe.redact import Redactor
from bridge.observe.site import Site
from bridge.observe.status import Identity

__all__ = [
    "HttpServer",
    "Identity",
    "Limited",
    "Redactor",
    "Site",
    "get_logger",
    "hook_uncaught",
    "setup",
]
