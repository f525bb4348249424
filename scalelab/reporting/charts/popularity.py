"""Draw how popular the items are that configurations recommend, beside those that users took."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import altair as alt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from scalelab.core.figures import metric_name
from scalelab.findings.differences import KEY
from scalelab.reporting import theme
from scalelab.reporting.best_lines import names_of
from scalelab.reporting.charts._options import Study, Width
from scalelab.reporting.quality import QualityOf, configurations_by
from scalelab.reporting.shared_parts import findings
from scalelab.store.ledger import Ledger

__all__ = ["Popularity"]

_ROWS = f"""
WITH taken AS (
    SELECT {", ".join(KEY)}, test_quality AS target_popularity FROM {{taken}}
)
SELECT {", ".join(f"listed.{name}" for name in KEY)}, dataset, num_items, loss, batch_size,
    num_seeds, own_test, test_quality AS popularity, target_popularity,
    spec::VARCHAR AS spec, count(*) OVER () AS num_found
FROM {{listed}} AS listed JOIN taken ON
    {" AND ".join(f"taken.{name} IS NOT DISTINCT FROM listed.{name}" for name in KEY)}
WHERE test_quality IS NOT NULL AND target_popularity IS NOT NULL
    AND ($study IS NULL OR list_contains(study_ids, $study))
QUALIFY row_number() OVER (
    PARTITION BY {", ".join(f"listed.{name}" for name in KEY[1:])}
    ORDER BY own_valid DESC NULLS LAST, listed.configuration
) <= $most
ORDER BY dataset, num_items, {", ".join(f"listed.{name}" for name in KEY[1:])},
    popularity, listed.configuration
"""
_ADDED = {
    "place": pa.string(),
    "label": pa.string(),
    "usual": pa.string(),
    "k": pa.int64(),
    "shown": pa.string(),
    "metric": pa.string(),
    "num_left_out": pa.int64(),
}
_TOOLTIP = (
    alt.Tooltip("label:N", title="configuration"),
    alt.Tooltip("popularity:Q", title="recommended", format=".1%"),
    alt.Tooltip("target_popularity:Q", title="taken", format=".1%"),
    alt.Tooltip("metric:N"),
    alt.Tooltip("own_test:Q", title="test", format=".4f"),
    alt.Tooltip("num_seeds:Q", title="seeds (mean over them)"),
    alt.Tooltip("configuration:N", title="id"),
)


@dataclass(frozen=True, kw_only=True)
class Popularity:
    """The popularity of what is recommended to the test users, and of what they took.

    The popularity of an item is the share of the catalog that occurs less often in training; the
    mean over the catalog is 50 %. A point is the mean over the first `k` places of all lists of a
    configuration, and over its seeds; the line is the mean over the targets of the test users.
    """

    k: Annotated[int, Field(ge=1, description="length of the lists, one of evaluate.k")] = 10
    study: Study = None
    most: Annotated[
        int, Field(ge=1, description="most configurations of a panel, the best on validation")
    ] = 40
    width: Width = 560

    def rows(self, ledger: Ledger) -> pa.Table:
        """One row for each configuration, the least popular lists of a data set first."""
        sql = _ROWS.format(
            listed=configurations_by(QualityOf(name="popularity", k=self.k)),
            taken=configurations_by(QualityOf(name="target_popularity", k=None)),
        )
        table = ledger.query(sql, {"study": self.study, "most": self.most})
        rows = table.to_pylist()
        added = [
            {
                **names,
                "k": self.k,
                "shown": _percent(row["popularity"]),
                "metric": metric_name(row["quality_metric"]),
                "num_left_out": row["num_found"] - len(rows),
            }
            for row, names in zip(rows, names_of(rows), strict=True)
        ]
        return theme.with_columns(table.drop_columns(["spec", "num_found"]), added, _ADDED)

    def finding(self, rows: pa.Table) -> str:
        """Which lists of each place are least and most popular, and what users took."""
        places: dict[str, list[dict[str, Any]]] = {}
        for row in rows.to_pylist():
            places.setdefault(row["place"], []).append(row)
        return findings({name: _extremes(group) for name, group in places.items()})

    def draw(self, rows: pa.Table) -> alt.Chart:
        """One panel per data set and device, one line of it per configuration."""
        title = "Popularity of what is recommended"
        if not rows.num_rows:
            reason = f"no finished runs with a popularity of their first {self.k} places"
            return theme.nothing_to_show(title, reason)
        chart_data = theme.ChartData()
        panels = [
            self._panel(chart_data, rows.filter(pc.field("place") == place), rows, place)
            for place in dict.fromkeys(rows["place"].to_pylist())
        ]
        subtitle = [
            f"points: the first {self.k} places of the test users' lists; line: what they took",
            "popularity of an item: the share of the catalog that occurs less often in training",
        ]
        left_out = rows["num_left_out"][0].as_py()
        if left_out:
            number = "1 configuration that is" if left_out == 1 else f"{left_out:,} that are"
            verb = "is" if left_out == 1 else "are"
            subtitle.append(f"{number} worse on validation {verb} left out")
        subtitle += theme.unnamed(rows)
        heading = alt.TitleParams(title, subtitle=subtitle, offset=14)
        return theme.themed(alt.vconcat(*panels, title=heading, spacing=22), chart_data)

    def _panel(
        self, chart_data: theme.ChartData, rows: pa.Table, all_rows: pa.Table, place: str
    ) -> Any:
        # Names stand above the points: beside them they would leave no width on a phone.
        y = alt.Y("label:N", title=None, sort=rows["label"].to_pylist(), axis=None)
        axis = alt.Axis(format="%", values=[n / 4 for n in range(5)])
        across = {"axis": axis, "scale": alt.Scale(domain=[0, 1]), "title": "popularity (mean)"}
        losses = theme.values(all_rows, "loss")
        base = chart_data.chart(rows)
        points = base.mark_point(size=60, opacity=1, yOffset=7).encode(
            x=alt.X("popularity:Q", **across),
            y=y,
            color=theme.loss_color(losses),
            fill=theme.loss_fill(losses),
            shape=theme.loss_shape(losses),
            tooltip=list(_TOOLTIP),
        )
        # A number to the right of a very popular point would be outside the panel.
        sides: tuple[tuple[Any, Literal["left", "right"], int], ...] = (
            (pc.field("popularity") <= 0.9, "left", 9),
            (pc.field("popularity") > 0.9, "right", -9),
        )
        numbers = [
            chart_data.chart(beside)
            .mark_text(align=align, dx=dx, dy=7, fontSize=10)
            .encode(x=alt.X("popularity:Q", **across), y=y, text="shown:N")
            for where, align, dx in sides
            if (beside := rows.filter(where)).num_rows
        ]
        names = base.mark_text(align="left", dy=-8, fontSize=11, color=theme.INK).encode(
            x=alt.value(0), y=y, text="label:N"
        )
        taken = sorted(set(theme.numbers(rows, "target_popularity")))
        rule = chart_data.chart(pa.table({"taken": taken})).mark_rule(
            strokeDash=[5, 4], color="#777777"
        )
        return alt.layer(
            rule.encode(x=alt.X("taken:Q", **across)), points, *numbers, names
        ).properties(
            title=alt.TitleParams(place, fontSize=12, offset=8),
            width=self.width,
            height=alt.Step(35),
        )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _extremes(rows: list[dict[str, Any]]) -> str:
    """Of one data set and device, the least popular lists first."""
    least, most = rows[0], rows[-1]
    taken = f"the test users took items of popularity {_percent(least['target_popularity'])}"
    if len(rows) == 1:
        return (
            f"The first {least['k']} places of {least['label']} hold items of popularity "
            f"{least['shown']} on average; {taken}."
        )
    return (
        f"The first {least['k']} places hold items of popularity {least['shown']} "
        f"({least['label']}) to {most['shown']} ({most['label']}) on average; {taken}."
    )
