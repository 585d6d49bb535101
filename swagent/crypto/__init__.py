"""Signatures, ciphers and digests; wraps ``cryptography``. Import the module that you need: none of them is light.

``signature`` checks who signed, ``signing`` signs, ``cipher`` is AES-CBC as a stream, ``digest`` is SHA-256.
"""
