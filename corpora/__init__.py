"""The demo's corpora, made from Debian packages; not part of the wheel."""
