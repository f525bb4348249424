"""Readers: a file (or nothing but options) in, all interactions out, unfiltered.

A reader is a frozen dataclass of options with

    needs_path: ClassVar[bool]
    def read(self, path: Path | None, into: Path | None = None) -> Interactions

`into` is a folder that takes the arrays as .npy files, for data larger than memory. A reader leaves
`fingerprint` empty: the loader knows file, options and filters. Raises DataError for bad input.
"""
