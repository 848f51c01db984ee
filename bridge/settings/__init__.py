"""What a process is told: every setting, where it is read, and what is said when it cannot be used."""

from bridge.settings.groups import PREFIX, KafkaSettings, TopicSettings, UpstreamSettings
from bridge.settings.load import Settings, load, use_config

__all__ = ["PREFIX", "KafkaSettings", "Settings", "TopicSettings", "UpstreamSettings", "load", "use_config"]
