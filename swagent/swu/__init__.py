"""The build host's side: make, sign, verify and unpack images. Import the module that you need.

``make`` builds from a description, ``sign`` signs what is there, ``verify`` judges without installing, ``extract``
lists and unpacks, ``writer`` writes the archive.
"""
