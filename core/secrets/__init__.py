"""Keys and other secrets, per project and shared: in the operating system's keyring, or in one encrypted file."""

from core.secrets.store import SHARED, FileStore, KeyringStore, SecretStore, open_store, service_key

__all__ = ["SHARED", "FileStore", "KeyringStore", "SecretStore", "open_store", "service_key"]
