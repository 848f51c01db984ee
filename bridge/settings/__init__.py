"""What a process is told: every setting, where it is read, and what is said when it cannot be used."""

from bridge.settings.groups import PREFIX, KafkaSettings, TopicSettings, UpstreamSettings
from bridge.settings.load import ENV_FILE, Settings, load, use_config
from bridge.settings.secrets import secrets_of

__all__ = [
    "ENV_FILE",
    "PREFIX",
    "KafkaSettings",
    "Settings",
    "TopicSettings",
    "UpstreamSettings",
    "load",
    "secrets_of",
    "use_config",
]
