"""Readers turn a file, or nothing but options, into all its interactions, unfiltered.

A reader is a frozen dataclass of options with

    needs_path: ClassVar[bool]
    def read(self, path: Path | None, into: Path | None = None) -> Interactions

`into` is a folder that takes the arrays as .npy files, for data larger than memory. The reader's
`fingerprint` is a digest of ids as text and times in UTC in the order of the file; where a reader
leaves it empty, the bytes of the file count. Raises DataError for bad input.
"""
