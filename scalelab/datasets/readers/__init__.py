"""Read files into all their interactions, unfiltered. The file's name is the reader's name.

A reader is a frozen dataclass of options with

    def read(self, source: Location, into: Path | None = None) -> Interactions

`source` holds the files, `into` is a folder that takes the arrays as .npy files, for data larger
than memory. The reader's `fingerprint` is a digest of ids as text and times in UTC in the order of
the file; where a reader leaves it empty, the bytes of the file count. Raises DataError for bad
input.
"""
