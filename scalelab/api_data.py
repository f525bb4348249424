"""Offer the verbs of data sets: `data.describe`, `data.convert` and `data.synthesize`."""

from pathlib import Path
from typing import Any

from scalelab.core.arguments import Settings, overrides_of

__all__ = ["data"]


class _Data:
    """`data.describe`, `data.convert`, `data.synthesize`."""

    def describe(
        self, file: str | Path, *, reader: str | None = None, set: Settings = None
    ) -> dict[str, Any]:
        """Counts, lengths, popularity, split sizes and what is dropped, with reasons.

        `reader` None goes by the file's suffix. Raises DataError, SpecError.
        """
        from scalelab.dataset_facts.describe import describe
        from scalelab.datasets.request import request

        return describe(request(file, reader, overrides_of(set)))

    def convert(
        self,
        file: str | Path,
        out: str | Path,
        *,
        reader: str | None = None,
        set: Settings = None,
    ) -> dict[str, Any]:
        """Write the compact format into the new folder `out`. Raises DataError, SpecError."""
        from scalelab.datasets.convert import convert
        from scalelab.datasets.request import request

        return convert(request(file, reader, overrides_of(set)), Path(out))

    def synthesize(self, out: str | Path, *, set: Settings = None) -> dict[str, Any]:
        """Generate a synthetic data set into the new folder `out`. Raises DataError, SpecError."""
        from scalelab.datasets.convert import convert
        from scalelab.datasets.request import request

        return convert(request(None, "synthetic", overrides_of(set)), Path(out))


data = _Data()
