-- The ledger, schema version 3. Run whole on a new file; the views again after every migration.
-- One row a fact. No primary keys: an index would be rebuilt on every open-append-close, and the
-- one writer already replaces a run together with its children.

CREATE TABLE IF NOT EXISTS meta (
    schema_version INTEGER NOT NULL,
    created_by VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL
);

CREATE TABLE IF NOT EXISTS studies (
    study_id VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    spec_toml VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL
);

-- Finished runs that a study did not repeat, since another study of the ledger had done them.
CREATE TABLE IF NOT EXISTS reused_runs (
    study_id VARCHAR NOT NULL,
    fingerprint VARCHAR NOT NULL
);

CREATE TABLE IF NOT EXISTS runs (
    run_id VARCHAR NOT NULL,
    study_id VARCHAR,
    fingerprint VARCHAR NOT NULL,
    attempt BIGINT NOT NULL,
    outcome VARCHAR NOT NULL,
    phase VARCHAR,
    error VARCHAR,
    dataset VARCHAR NOT NULL,
    data_fingerprint VARCHAR,
    num_users BIGINT,
    num_items BIGINT,
    num_interactions BIGINT,
    protocol VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    loss VARCHAR NOT NULL,
    batch_size BIGINT NOT NULL,
    max_len BIGINT NOT NULL,
    hidden_dim BIGINT,
    num_negatives BIGINT NOT NULL,
    seed BIGINT NOT NULL,
    spec JSON NOT NULL,
    started_at TIMESTAMP NOT NULL,
    wall_s DOUBLE,
    train_s DOUBLE,
    eval_s DOUBLE,
    best_epoch BIGINT,
    epochs BIGINT,
    tokens_per_s DOUBLE,
    wait_fraction DOUBLE,
    resolved JSON,
    origin JSON,
    stopped VARCHAR,
    account_error DOUBLE,
    tied_targets DOUBLE,
    repeated_targets DOUBLE,
    -- NULL in rows of schema version 1: files were read, and models evaluated, by older rules.
    results_version BIGINT,
    -- What every view wants of a run, found when it was written: found again at every question, by
    -- joins and scans over 100,000 runs, it would cost seconds.
    configuration VARCHAR NOT NULL,
    device VARCHAR,
    threads BIGINT,
    -- The metric that chose the epoch (evaluate.metric), and the qualities by it.
    quality_metric VARCHAR NOT NULL,
    valid_quality DOUBLE,
    test_quality DOUBLE,
    oracle_quality DOUBLE,
    valid_ndcg_10 DOUBLE,
    test_ndcg_10 DOUBLE,
    oracle_ndcg_10 DOUBLE,
    peak_kind VARCHAR NOT NULL,
    peak_bytes BIGINT,
    predicted_peak_bytes BIGINT,
    eval_peak_bytes BIGINT,
    host_rss_bytes BIGINT,
    num_children BIGINT NOT NULL,
    -- Options of one loss, read from what was really used. The casts to VARCHAR: DuckDB 1.4 does not
    -- know JSON in a generated column.
    rounds BIGINT AS (
        try_cast(json_extract_string(resolved::VARCHAR, '$.loss.rounds'::VARCHAR) AS BIGINT)
    ),
    n_buckets BIGINT AS (
        try_cast(json_extract_string(resolved::VARCHAR, '$.loss.n_buckets'::VARCHAR) AS BIGINT)
    ),
    n_chunks BIGINT AS (
        try_cast(json_extract_string(resolved::VARCHAR, '$.loss.n_chunks'::VARCHAR) AS BIGINT)
    ),
    n_extra_chunks BIGINT AS (
        try_cast(json_extract_string(resolved::VARCHAR, '$.loss.n_extra_chunks'::VARCHAR) AS BIGINT)
    )
);

CREATE TABLE IF NOT EXISTS metrics (
    run_id VARCHAR NOT NULL,
    split VARCHAR NOT NULL,
    epoch BIGINT NOT NULL,
    name VARCHAR NOT NULL,
    k BIGINT,
    value DOUBLE NOT NULL
);

CREATE TABLE IF NOT EXISTS memory (
    run_id VARCHAR NOT NULL,
    stage VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    component VARCHAR NOT NULL,
    bytes BIGINT,
    reason VARCHAR,
    source VARCHAR NOT NULL
);

CREATE TABLE IF NOT EXISTS timeline (
    run_id VARCHAR NOT NULL,
    event BIGINT NOT NULL,
    phase VARCHAR NOT NULL,
    component VARCHAR NOT NULL,
    bytes BIGINT NOT NULL
);

CREATE TABLE IF NOT EXISTS samples (
    run_id VARCHAR NOT NULL,
    at_s DOUBLE NOT NULL,
    probe VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    value DOUBLE,
    unit VARCHAR NOT NULL
);

CREATE TABLE IF NOT EXISTS environments (
    run_id VARCHAR NOT NULL,
    host VARCHAR NOT NULL,
    device VARCHAR NOT NULL,
    device_bytes BIGINT,
    driver VARCHAR,
    torch VARCHAR NOT NULL,
    python VARCHAR NOT NULL,
    scalelab VARCHAR NOT NULL,
    "commit" VARCHAR,
    threads BIGINT NOT NULL
);

-- The rank of each test target, 0 where it has none, user by user; DuckDB packs the numbers.
-- `num_targets` says how many each user has, NULL where all have one; `one_list` that one list is to
-- find all targets of a user.
CREATE TABLE IF NOT EXISTS user_ranks (
    run_id VARCHAR NOT NULL,
    ranks UINTEGER[] NOT NULL,
    num_targets UINTEGER[],
    one_list BOOLEAN NOT NULL
);

-- Methods that need no training; they belong to a data set and a protocol, not to a run.
CREATE TABLE IF NOT EXISTS baselines (
    data_fingerprint VARCHAR NOT NULL,
    protocol VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    split VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    k BIGINT,
    value DOUBLE NOT NULL,
    seconds DOUBLE NOT NULL
);

-- One row a finished run.
CREATE OR REPLACE VIEW results AS
SELECT * EXCLUDE (num_children) FROM runs WHERE outcome = 'done';

-- One row a configuration: a spec without its seed, on one data set, device and number of threads, by
-- the rules of one results version. A fingerprint that was run again counts once, by its last attempt.
CREATE OR REPLACE VIEW configurations AS
WITH latest AS (
    SELECT * FROM results SEMI JOIN (
        SELECT max_by(run_id, (attempt, started_at, run_id)) AS run_id
        FROM results GROUP BY fingerprint, device
    ) AS newest USING (run_id)
),
-- Seeds that ended without a result: out of memory, say, or diverged. Where a run died before it could
-- name its device, it counts for every device that the configuration ran on.
lost AS (
    SELECT tried.configuration, tried.device, count(DISTINCT ended.fingerprint) AS num_lost
    FROM (SELECT DISTINCT configuration, device FROM latest) AS tried
    JOIN runs AS ended ON ended.configuration = tried.configuration
        AND ended.outcome IN ({lost})
        AND (ended.device IS NULL OR ended.device IS NOT DISTINCT FROM tried.device)
    WHERE NOT EXISTS (
        FROM latest WHERE latest.fingerprint = ended.fingerprint
            AND latest.device IS NOT DISTINCT FROM tried.device AND latest.attempt > ended.attempt
    )
    GROUP BY tried.configuration, tried.device
),
reused AS (
    SELECT configuration, list(DISTINCT reused_runs.study_id) AS study_ids
    FROM reused_runs JOIN results USING (fingerprint) GROUP BY configuration
)
SELECT
    configuration,
    {comparable_in_time},
    first(dataset) AS dataset,
    first(model) AS model,
    first(loss) AS loss,
    first(num_users) AS num_users,
    first(num_items) AS num_items,
    first(num_interactions) AS num_interactions,
    first(batch_size) AS batch_size,
    first(max_len) AS max_len,
    first(hidden_dim) AS hidden_dim,
    first(num_negatives) AS num_negatives,
    first(rounds) AS rounds,
    first(n_buckets) AS n_buckets,
    first(n_chunks) AS n_chunks,
    first(n_extra_chunks) AS n_extra_chunks,
    first(peak_kind) AS peak_kind,
    first(spec) AS spec,
    list_distinct(list_concat(
        coalesce(list(DISTINCT study_id) FILTER (study_id IS NOT NULL), []),
        coalesce((
            SELECT study_ids FROM reused WHERE reused.configuration = latest.configuration
        ), [])
    )) AS study_ids,
    count(*) AS num_seeds,
    coalesce((
        SELECT num_lost FROM lost WHERE lost.configuration = latest.configuration
            AND lost.device IS NOT DISTINCT FROM latest.device
    ), 0) AS num_lost,
    avg(valid_quality) AS valid_quality,
    stddev_samp(valid_quality) AS valid_quality_std,
    avg(test_quality) AS test_quality,
    stddev_samp(test_quality) AS test_quality_std,
    max(oracle_quality) AS oracle_quality,
    avg(valid_ndcg_10) AS valid_ndcg_10,
    stddev_samp(valid_ndcg_10) AS valid_ndcg_10_std,
    avg(test_ndcg_10) AS test_ndcg_10,
    stddev_samp(test_ndcg_10) AS test_ndcg_10_std,
    max(oracle_ndcg_10) AS oracle_ndcg_10,
    round(avg(peak_bytes))::BIGINT AS peak_bytes,
    stddev_samp(peak_bytes) AS peak_bytes_std,
    -- A seed whose peak could not be read may have had the highest one.
    CASE WHEN count(peak_bytes) = count(*) THEN max(peak_bytes) END AS peak_bytes_max,
    CASE WHEN count(eval_peak_bytes) = count(*) THEN max(eval_peak_bytes) END
        AS eval_peak_bytes_max,
    round(avg(predicted_peak_bytes))::BIGINT AS predicted_peak_bytes,
    max(host_rss_bytes) AS host_rss_bytes,
    avg(train_s) AS train_s,
    stddev_samp(train_s) AS train_s_std,
    avg(eval_s) AS eval_s,
    avg(wall_s) AS wall_s,
    avg(best_epoch) AS best_epoch,
    avg(tokens_per_s) AS tokens_per_s,
    max(wait_fraction) AS wait_fraction
FROM latest
GROUP BY configuration, {comparable_in_time};

-- The fronts: what nothing beats on mean validation quality and cost. A row stays if it is the best at its
-- cost and better than all that is cheaper. One that lost seeds is on none and beats nothing.
CREATE OR REPLACE VIEW pareto_memory AS
SELECT * FROM configurations
WHERE {may_win} AND peak_bytes IS NOT NULL
QUALIFY valid_quality = max(valid_quality) OVER (
        PARTITION BY {comparable}, peak_bytes
    )
    AND valid_quality > coalesce(max(valid_quality) OVER (
        PARTITION BY {comparable} ORDER BY peak_bytes
        RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW EXCLUDE GROUP
    ), '-infinity'::DOUBLE)
ORDER BY {comparable}, peak_bytes, configuration;

CREATE OR REPLACE VIEW pareto_time AS
SELECT * FROM configurations
WHERE {may_win} AND train_s IS NOT NULL
QUALIFY valid_quality = max(valid_quality) OVER (
        PARTITION BY {comparable_in_time}, train_s
    )
    AND valid_quality > coalesce(max(valid_quality) OVER (
        PARTITION BY {comparable_in_time} ORDER BY train_s
        RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW EXCLUDE GROUP
    ), '-infinity'::DOUBLE)
ORDER BY {comparable_in_time}, train_s, configuration;

-- Bytes at the peak, one column a component; components without a column of their own are in `further`,
-- so that the columns add up to the total.
CREATE OR REPLACE VIEW components AS
SELECT
    run_id,
    stage,
    kind,
    source,
    sum(bytes) FILTER (component = 'total')::BIGINT AS total,
    sum(bytes) FILTER (component = 'item_table')::BIGINT AS item_table,
    sum(bytes) FILTER (component = 'encoder_parameters')::BIGINT AS encoder_parameters,
    sum(bytes) FILTER (component = 'item_table_gradient')::BIGINT AS item_table_gradient,
    sum(bytes) FILTER (component = 'encoder_gradients')::BIGINT AS encoder_gradients,
    sum(bytes) FILTER (component = 'optimizer_state')::BIGINT AS optimizer_state,
    sum(bytes) FILTER (component = 'optimizer_workspace')::BIGINT AS optimizer_workspace,
    sum(bytes) FILTER (component = 'batch')::BIGINT AS batch,
    sum(bytes) FILTER (component = 'activations')::BIGINT AS activations,
    sum(bytes) FILTER (component = 'loss_workspace')::BIGINT AS loss_workspace,
    sum(bytes) FILTER (component = 'evaluation_workspace')::BIGINT AS evaluation_workspace,
    sum(bytes) FILTER (component = 'other')::BIGINT AS other,
    sum(bytes) FILTER (component NOT IN (
        'total', 'item_table', 'encoder_parameters', 'item_table_gradient', 'encoder_gradients',
        'optimizer_state', 'optimizer_workspace', 'batch', 'activations', 'loss_workspace',
        'evaluation_workspace', 'other'
    ))::BIGINT AS further
FROM memory
GROUP BY run_id, stage, kind, source;

-- Predicted beside measured, total and components; `error` is relative to the measured value,
-- `error_of_peak` to the measured total.
CREATE OR REPLACE VIEW prediction_error AS
WITH paired AS (
    SELECT
        run_id, stage, kind, component,
        max(bytes) FILTER (source = 'measured') AS measured_bytes,
        max(bytes) FILTER (source = 'predicted') AS predicted_bytes
    FROM memory
    GROUP BY run_id, stage, kind, component
    HAVING measured_bytes IS NOT NULL AND predicted_bytes IS NOT NULL
)
SELECT
    runs.run_id, runs.study_id, runs.outcome, runs.dataset, runs.model, runs.loss, runs.num_items,
    runs.batch_size, runs.max_len, runs.hidden_dim, runs.num_negatives, runs.device,
    paired.stage, paired.kind, paired.component, paired.measured_bytes, paired.predicted_bytes,
    paired.predicted_bytes / nullif(paired.measured_bytes, 0) - 1 AS error,
    (paired.predicted_bytes - paired.measured_bytes)
        / nullif(max(CASE WHEN paired.component = 'total' THEN paired.measured_bytes END) OVER (
            PARTITION BY paired.run_id, paired.stage, paired.kind
        ), 0) AS error_of_peak
FROM paired
JOIN runs ON runs.run_id = paired.run_id;

-- Bytes of a number, or of a text such as '8GiB', as the command line reads it.
CREATE OR REPLACE MACRO size_in_bytes(size) AS CASE
    WHEN try_cast(size AS DOUBLE) IS NOT NULL THEN try_cast(size AS DOUBLE)
    WHEN size IS NULL THEN NULL
    WHEN regexp_full_match(trim(CAST(size AS VARCHAR)), '\d+(\.\d+)?\s*({units})', 'i') THEN
        CAST(regexp_extract(trim(CAST(size AS VARCHAR)), '^[0-9.]+') AS DOUBLE)
        * CASE lower(regexp_extract(trim(CAST(size AS VARCHAR)), '[A-Za-z]+$')) {bytes_of_unit} END
    ELSE error('invalid size: ''' || CAST(size AS VARCHAR) || '''; write a number and a unit: 8GiB')
END;

-- The best configuration, chosen on validation, whose every seed ended well and stayed within `budget`
-- bytes, in training and in evaluation: one row for each data set, protocol, device and results version.
CREATE OR REPLACE MACRO best_under_budget(budget) AS TABLE
SELECT * FROM configurations
WHERE peak_bytes_max <= size_in_bytes(budget) AND eval_peak_bytes_max <= size_in_bytes(budget)
    AND {may_win}
QUALIFY row_number() OVER (
    PARTITION BY {comparable}
    ORDER BY valid_quality DESC, peak_bytes, configuration
) = 1
ORDER BY {comparable};
