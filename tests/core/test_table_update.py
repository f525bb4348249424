"""What a streamed update cannot do is refused with its reason before anything is built."""

import pytest

from scalelab.core.errors import SpecError
from scalelab.core.run_sections import ItemTableSpec, ModelSpec
from scalelab.core.table_update import check_item_table, check_table_update, table_optimizer
from scalelab.core.train_section import TableSpec, TrainSpec


class Streams:
    def streamed(self) -> None: ...


class Whole:
    pass


def train(update: str, optimizer: str | None = None, **more: object) -> TrainSpec:
    table = TableSpec.model_validate({"update": update, "optimizer": optimizer})
    return TrainSpec.model_validate({"table": table, **more})


def test_what_can_be_streamed_passes() -> None:
    check_table_update(train("streamed", "lazy_adam"), "cross_entropy", Streams)
    check_table_update(train("dense"), "dense_ce", Whole)


@pytest.mark.parametrize(
    ("spec", "loss", "reason"),
    [
        (train("dense", "lazy_adam"), Streams, "which these are"),
        (train("streamed", ema_decay=0.9), Streams, "averages the whole item table"),
        (train("streamed"), Whole, "the whole item table at once"),
    ],
)
def test_what_cannot_is_refused(spec: TrainSpec, loss: type, reason: str) -> None:
    with pytest.raises(SpecError, match=reason) as caught:
        check_table_update(spec, "a_loss", loss)
    assert caught.value.hint.startswith("write train.table.update = ")


def test_a_table_in_bf16_is_streamed() -> None:
    model, table = ModelSpec(table_dtype="bf16"), ItemTableSpec()
    check_item_table(model, table, train("streamed"))
    with pytest.raises(SpecError, match="added up in bf16"):
        check_item_table(model, table, train("dense"))


def test_the_table_has_the_optimizer_of_the_run_unless_it_names_one() -> None:
    assert table_optimizer(train("dense")) == "adam"
    assert table_optimizer(train("dense", "rowwise_adagrad")) == "rowwise_adagrad"
