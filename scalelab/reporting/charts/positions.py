"""Draw the quality of rankings at each of the last positions of the histories."""

from dataclasses import dataclass
from typing import Annotated, Any

import altair as alt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from scalelab.findings.differences import KEY, Key, key_of
from scalelab.reporting import axes, theme
from scalelab.reporting.best_lines import NAMES, best_lines
from scalelab.reporting.charts._options import Height, Metric, Study, Width
from scalelab.reporting.lines import OWN_LINES, look_of
from scalelab.reporting.quality import note_on
from scalelab.reporting.selection import OF_STUDY
from scalelab.reporting.shared_parts import findings
from scalelab.store.ledger import Ledger

__all__ = ["Positions"]

# One row a configuration and position: means over the last attempt of each seed, at the epoch whose
# weights were kept. `position` counts back from the test target, which has 0; validation has -1.
# Steps ahead count up from 1.
_ROWS = f"""
WITH latest AS (
    SELECT * FROM results SEMI JOIN (
        SELECT max_by(run_id, (attempt, started_at, run_id)) AS run_id
        FROM results GROUP BY fingerprint, device
    ) AS newest USING (run_id)
    WHERE {OF_STUDY}
),
found AS (
    SELECT {", ".join(f"latest.{name}" for name in KEY)},
        any_value(dataset) AS dataset, any_value(num_items) AS num_items, any_value(loss) AS loss,
        any_value(spec)::VARCHAR AS spec, avg(valid_quality) AS chosen_by,
        CASE WHEN metrics.split = 'test' THEN 0 WHEN metrics.split = 'valid' THEN -1
            WHEN starts_with(metrics.split, 'ahead-') THEN try_cast(metrics.split[7:] AS BIGINT)
            ELSE -1 - try_cast(metrics.split[7:] AS BIGINT) END AS position,
        avg(metrics.value) AS quality
    FROM latest JOIN metrics ON metrics.run_id = latest.run_id
    WHERE metrics.name = $name AND metrics.k IS NOT DISTINCT FROM $k
        AND metrics.epoch = latest.best_epoch
        AND (metrics.split IN ('valid', 'test') OR starts_with(metrics.split, 'train-')
            OR starts_with(metrics.split, 'ahead-'))
    GROUP BY {", ".join(f"latest.{name}" for name in KEY)}, metrics.split
),
counted AS (
    SELECT *, min(position) OVER one AS first, max(position) OVER one AS last,
        dense_rank() OVER (
            PARTITION BY {", ".join(KEY[1:])} ORDER BY chosen_by DESC, configuration
        ) AS valid_rank
    FROM found WINDOW one AS (PARTITION BY {", ".join(KEY)})
)
SELECT * EXCLUDE (first, last, chosen_by), position > 0 AS is_ahead FROM counted
WHERE (first < -1 OR last > 0) AND valid_rank <= $most
ORDER BY dataset, num_items, {", ".join(KEY[1:])}, valid_rank, position
"""
_POSITIONS = (
    "datum.value > 0 ? 'ahead ' + datum.value : datum.value == 0 ? 'test' : "
    "datum.value == -1 ? 'valid' : 'train' + (datum.value + 1)"
)


@dataclass(frozen=True, kw_only=True)
class Positions:
    """Quality at each of the last positions: training targets, then validation, then test.

    It needs runs with `evaluate.positions` above 0. A fall from the last training position to
    validation says how much of the fit does not carry over (Figure 3 of the CCE paper). Of runs
    with `evaluate.steps_ahead` the steps follow, a line of their own: their histories end earlier.
    """

    metric: Metric = None
    study: Study = None
    most: Annotated[int, Field(ge=1, description="most lines of a panel, the best first")] = 12
    width: Width = 430
    height: Height = 280

    def rows(self, ledger: Ledger) -> pa.Table:
        """One row for each line and position."""
        table, names = best_lines(
            ledger, _ROWS, metric=self.metric, study=self.study, most=self.most
        )
        return theme.with_columns(table.drop_columns(["spec"]), names, NAMES)

    def finding(self, rows: pa.Table) -> str:
        """What the best of each place has at the last training position and on test."""
        places: dict[str, dict[Key, dict[int, dict[str, Any]]]] = {}
        for row in rows.to_pylist():
            lines = places.setdefault(row["place"], {})
            lines.setdefault(key_of(row), {})[row["position"]] = row
        found = {name: (_fall(lines), _fall_ahead(lines)) for name, lines in places.items()}
        return findings({name: " ".join(filter(None, words)) for name, words in found.items()})

    def draw(self, rows: pa.Table) -> alt.Chart:
        """For each data set and device a panel."""
        title = "Quality by position"
        if not rows.num_rows:
            return theme.nothing_to_show(title)
        chart_data = theme.ChartData()
        panels = [
            self._panel(chart_data, rows.filter(pc.field("place") == place), rows, place)
            for place in dict.fromkeys(rows["place"].to_pylist())
        ]
        subtitle = ["training targets have been trained on; means over seeds"]
        if any(rows["is_ahead"].to_pylist()):
            subtitle.append("ahead: the last items, hidden and ranked one after the other")
        subtitle += [*note_on(rows, metric=self.metric, study=self.study), *theme.unnamed(rows)]
        heading = alt.TitleParams(title, subtitle=subtitle, offset=14)
        drawn = alt.vconcat(*panels, title=heading, spacing=30)
        return theme.themed(drawn.properties(resolve=OWN_LINES), chart_data)

    def _panel(
        self, chart_data: theme.ChartData, rows: pa.Table, all_rows: pa.Table, place: str
    ) -> Any:
        up = axes.quality_axis(theme.numbers(rows, "quality"), rows["metric"][0].as_py())
        look = look_of(all_rows, "label", rows)
        axis = alt.Axis(labelExpr=_POSITIONS, tickMinStep=1, grid=False)
        base = chart_data.chart(rows).encode(
            x=alt.X("position:Q", title="position", axis=axis, scale=alt.Scale(nice=False)),
            y=alt.Y("quality:Q", **up),
            color=look.color,
            detail=["configuration:N", "is_ahead:N"],
        )
        tooltip = [
            alt.Tooltip("label:N", title="configuration"),
            alt.Tooltip("position:Q"),
            alt.Tooltip("metric:N"),
            alt.Tooltip("quality:Q", format=".4f"),
        ]
        lines = base.mark_line(strokeWidth=1.6).encode(strokeDash=look.dash)
        points = base.mark_point(size=36, opacity=1).encode(fill=look.fill, tooltip=tooltip)
        titled = alt.TitleParams(place, fontSize=12, offset=8)
        return alt.layer(lines, points, title=titled).properties(
            width=self.width, height=self.height
        )


def _fall(lines: dict[Key, dict[int, dict[str, Any]]]) -> str:
    """Of the configurations of one data set and device, the best on validation first."""
    both = [line for line in lines.values() if -2 in line and 0 in line]
    if not both:
        return ""
    ends = both[0][-2], both[0][0]
    return f"From the last training position to test {_from_to(*ends, lines)}"


def _fall_ahead(lines: dict[Key, dict[int, dict[str, Any]]]) -> str:
    ahead = [line for line in lines.values() if max(line) > 1]
    if not ahead:
        return ""
    ends = ahead[0][1], ahead[0][max(ahead[0])]
    return f"From step 1 ahead to step {ends[1]['position']} {_from_to(*ends, lines)}"


def _from_to(
    first: dict[str, Any], last: dict[str, Any], lines: dict[Key, dict[int, dict[str, Any]]]
) -> str:
    # The best may have run without these positions, and ranks of several settings do not compare.
    is_best = last["valid_rank"] == 1 and len({key[1:] for key in lines}) == 1
    return (
        f"{last['metric']} goes from {first['quality']:.4f} to {last['quality']:.4f} for "
        f"{last['label']}{', which is best on validation' if is_best else ''}."
    )
