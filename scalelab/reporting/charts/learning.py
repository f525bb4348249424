"""Draw the validation quality of runs against epochs and against the clock."""

from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Any

import altair as alt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from scalelab.findings.differences import KEY, key_of
from scalelab.findings.verdicts import verdicts_of
from scalelab.reporting import axes, theme
from scalelab.reporting.best_lines import NAMES, best_lines
from scalelab.reporting.charts._options import Height, Metric, Study, Width
from scalelab.reporting.lines import OWN_LINES, look_of
from scalelab.reporting.quality import note_on
from scalelab.reporting.selection import OF_STUDY, ids
from scalelab.store.ledger import Ledger

__all__ = ["Learning"]

# Of each configuration the run with the smallest seed; of each data set the best configurations of
# every loss in turn: first the best of each, then the second best.
_ROWS = f"""
WITH latest AS (
    SELECT * FROM results SEMI JOIN (
        SELECT max_by(run_id, (attempt, started_at, run_id)) AS run_id
        FROM results GROUP BY fingerprint, device
    ) AS newest USING (run_id)
    WHERE valid_quality IS NOT NULL AND {OF_STUDY}
),
one_seed AS (
    SELECT * FROM latest QUALIFY row_number() OVER (
        PARTITION BY {", ".join(KEY)} ORDER BY seed, run_id
    ) = 1
),
counted AS (
    SELECT *, count(*) OVER place AS of_place, row_number() OVER (
        PARTITION BY {", ".join(KEY[1:])}, loss
        ORDER BY valid_quality DESC, configuration
    ) AS turn
    FROM one_seed
    WINDOW place AS (PARTITION BY {", ".join(KEY[1:])})
),
chosen AS (
    SELECT * FROM counted QUALIFY row_number() OVER (
        PARTITION BY {", ".join(KEY[1:])}
        ORDER BY turn, valid_quality DESC, configuration
    ) <= $most
),
clocks AS (
    SELECT run_id, epoch, max(value) AS at_s FROM metrics
    WHERE split = 'train' AND name = 'wall_s' GROUP BY run_id, epoch
)
SELECT {", ".join(f"chosen.{name}" for name in KEY)}, dataset, num_items, loss, seed, of_place,
    spec::VARCHAR AS spec, metrics.epoch, metrics.value AS valid_quality, clocks.at_s
FROM chosen
JOIN metrics ON metrics.run_id = chosen.run_id AND metrics.split = 'valid'
    AND metrics.name = $name AND metrics.k IS NOT DISTINCT FROM $k
LEFT JOIN clocks ON clocks.run_id = chosen.run_id AND clocks.epoch = metrics.epoch
ORDER BY dataset, num_items, {", ".join(f"chosen.{name}" for name in KEY[1:])},
    chosen.loss, chosen.turn, metrics.epoch
"""
_ADDED = {**NAMES, "is_rising": pa.bool_(), "num_left_out": pa.int64()}
_TOOLTIP = (
    alt.Tooltip("label:N", title="configuration"),
    alt.Tooltip("epoch:Q"),
    alt.Tooltip("at_s:Q", title="seconds of training", format=",.1f"),
    alt.Tooltip("metric:N"),
    alt.Tooltip("valid_quality:Q", title="validation", format=".4f"),
    alt.Tooltip("seed:Q"),
)


@dataclass(frozen=True, kw_only=True)
class Learning:
    """Validation quality after each epoch: which runs had ended learning, and which learn fast.

    A line is one run: of each configuration that with the smallest seed. At most `most` lines for
    each data set and device, the best of each loss first.
    """

    metric: Metric = None
    study: Study = None
    most: Annotated[int, Field(ge=1, description="most lines of a panel, the best first")] = 12
    width: Width = 430
    height: Height = 280

    def rows(self, ledger: Ledger) -> pa.Table:
        """One row for each line and epoch."""
        table, names = best_lines(
            ledger, _ROWS, metric=self.metric, study=self.study, most=self.most
        )
        rows = table.to_pylist()
        verdicts = verdicts_of(ledger, ids(rows)) if rows else {}
        left_out = {key_of(row)[1:]: row["of_place"] - self.most for row in rows}
        total = sum(max(0, count) for count in left_out.values())
        added = [
            own | {"is_rising": verdicts[key_of(row)].still_rising > 0, "num_left_out": total}
            for row, own in zip(rows, names, strict=True)
        ]
        return theme.with_columns(table.drop_columns(["spec", "of_place"]), added, _ADDED)

    def finding(self, rows: pa.Table) -> str:
        """How many of the drawn runs had not ended learning."""
        points = rows.to_pylist()
        is_rising = {key_of(row): row["is_rising"] for row in points}
        number, rising = len(is_rising), sum(is_rising.values())
        # Whether a curve of one point rose is not known.
        once = sum(count == 1 for count in Counter(map(key_of, points)).values())
        if not number:
            return ""
        if once == number:
            who = "The only drawn run was" if number == 1 else "All drawn runs were"
            return f"{who} validated once: whether quality still rose is not known."
        if number == 1 and rising:
            return "The only drawn run was still rising at the end: more epochs may make it better."
        if number == 1:
            return "The only drawn run had stopped rising when it ended."
        alone = f"; {once} {'was' if once == 1 else 'were'} validated once" if once else ""
        if rising:
            were = "was" if rising == 1 else "were"
            return (
                f"{rising} of {number} drawn runs {were} still rising at the end: with more epochs "
                f"the order may change{alone}."
            )
        how_many = f"{number - once} of {number}" if once else f"All {number}"
        return f"{how_many} drawn runs had stopped rising when they ended{alone}."

    def draw(self, rows: pa.Table) -> alt.Chart:
        """For each data set and device a panel over epochs and one over the clock."""
        title = "Learning curves"
        if not rows.num_rows:
            shown = self.metric or "a quality"
            return theme.nothing_to_show(title, f"no finished runs with {shown} on validation")
        chart_data = theme.ChartData()
        panels = [
            self._panels(chart_data, rows.filter(pc.field("place") == place), rows, place)
            for place in dict.fromkeys(rows["place"].to_pylist())
        ]
        subtitle = ["a line is one run (smallest seed); hollow points: still rising when it ended"]
        left_out = rows["num_left_out"][0].as_py()
        if left_out:
            subtitle.append(f"{left_out} configurations are left out, the best of each loss kept")
        subtitle += [*note_on(rows, metric=self.metric, study=self.study), *theme.unnamed(rows)]
        heading = alt.TitleParams(title, subtitle=subtitle, offset=14)
        drawn = alt.vconcat(*panels, title=heading, spacing=30)
        # The labels of one data set may be those of another.
        return theme.themed(drawn.properties(resolve=OWN_LINES), chart_data)

    def _panels(
        self, chart_data: theme.ChartData, rows: pa.Table, all_rows: pa.Table, place: str
    ) -> alt.HConcatChart:
        panels = [
            self._panel(chart_data, rows, all_rows=all_rows, field="epoch", unit="", title="epoch")
        ]
        if theme.numbers(rows, "at_s"):
            panels.append(
                self._panel(
                    chart_data,
                    rows,
                    all_rows=all_rows,
                    field="at_s",
                    unit="s",
                    title="time of training",
                )
            )
        return alt.hconcat(*panels, title=alt.TitleParams(place, fontSize=12, offset=8))

    def _panel(
        self,
        chart_data: theme.ChartData,
        rows: pa.Table,
        *,
        all_rows: pa.Table,
        field: str,
        unit: str,
        title: str,
    ) -> Any:
        found = theme.numbers(rows, field)
        across = axes.axis_of([max(found)], title, unit=unit, zero=True)
        if field == "epoch":
            across["axis"].tickMinStep = 1
            across["axis"].values = [n for n in across["axis"].values if n == int(n)]
        up = axes.quality_axis(
            theme.numbers(rows, "valid_quality"), f"validation {rows['metric'][0].as_py()}"
        )
        look = look_of(all_rows, "label", rows)
        base = chart_data.chart(rows.filter(pc.field(field).is_valid())).encode(
            x=alt.X(f"{field}:Q", **across),
            y=alt.Y("valid_quality:Q", **up),
            color=look.color,
            detail="configuration:N",
        )
        lines = base.mark_line(strokeWidth=1.6).encode(strokeDash=look.dash)
        points = base.mark_point(size=36, opacity=1).encode(
            fill=alt.condition("datum.is_rising", alt.value("white"), look.fill),
            tooltip=list(_TOOLTIP),
        )
        return alt.layer(lines, points).properties(width=self.width, height=self.height)
