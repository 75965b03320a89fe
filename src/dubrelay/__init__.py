"""dubrelay: self-hosted live dubbing."""

__version__ = "0.1.0"
