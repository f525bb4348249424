"""Test parts that others write: subclass a contract, name the part, run pytest.

    from scalelab.testing import LossContract
    from my_losses import Cosine

    class TestCosine(LossContract):
        loss = Cosine(temperature=0.1)

Each law of a contract is one test. A law that does not concern a part is skipped and says why;
which laws do is set by attributes of the class, which the contracts explain. pytest is imported
here and nowhere else in scalelab.
"""

from scalelab.testing.charts import ChartContract
from scalelab.testing.losses import LossContract
from scalelab.testing.models import ModelContract
from scalelab.testing.tables import TableContract

__all__ = ["ChartContract", "LossContract", "ModelContract", "TableContract"]
