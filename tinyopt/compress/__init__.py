"""Compression: graphs in, smaller graphs out. One package per technique; nothing is imported here."""
