"""Pieces that two model families share, or that are an idea with a paper of its own.

Contract: plain torch, batched, any device, any memory format. A layer imports nothing of cnntrain but `errors`, `units` and other layers;
models import layers, never the reverse, and families never import one another. Whatever only one family needs stays in its file.
"""
