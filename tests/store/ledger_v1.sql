-- A ledger of schema version 1, as scalelab 0.1.0 (commit f37ffcf) made it.
-- The ledger, schema version 1. Run whole on a new file; the views again after every migration.
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
    rounds BIGINT,
    n_buckets VARCHAR,
    n_chunks BIGINT,
    n_extra_chunks BIGINT,
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
    -- What every view wants of a run, found when it was written: found again at every question, by
    -- joins and scans over 100,000 runs, it would cost seconds.
    configuration VARCHAR NOT NULL,
    device VARCHAR,
    valid_ndcg_10 DOUBLE,
    test_ndcg_10 DOUBLE,
    oracle_ndcg_10 DOUBLE,
    peak_kind VARCHAR NOT NULL,
    peak_bytes BIGINT,
    predicted_peak_bytes BIGINT,
    eval_peak_bytes BIGINT,
    host_rss_bytes BIGINT,
    num_children BIGINT NOT NULL
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

-- One row a finished run.
CREATE OR REPLACE VIEW results AS
SELECT * EXCLUDE (num_children) FROM runs WHERE outcome = 'done';

-- One row a configuration: a spec without its seed, on one data set and device. A fingerprint that was
-- run again counts once, by its last attempt.
CREATE OR REPLACE VIEW configurations AS
WITH latest AS (
    SELECT * FROM results SEMI JOIN (
        SELECT max_by(run_id, (attempt, started_at, run_id)) AS run_id
        FROM results GROUP BY fingerprint, device
    ) AS newest USING (run_id)
)
SELECT
    configuration,
    data_fingerprint,
    protocol,
    device,
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
    list(DISTINCT study_id) FILTER (study_id IS NOT NULL) AS study_ids,
    count(*) AS num_seeds,
    avg(valid_ndcg_10) AS valid_ndcg_10,
    stddev_samp(valid_ndcg_10) AS valid_ndcg_10_std,
    avg(test_ndcg_10) AS test_ndcg_10,
    stddev_samp(test_ndcg_10) AS test_ndcg_10_std,
    max(oracle_ndcg_10) AS oracle_ndcg_10,
    round(avg(peak_bytes))::BIGINT AS peak_bytes,
    stddev_samp(peak_bytes) AS peak_bytes_std,
    max(peak_bytes) AS peak_bytes_max,
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
GROUP BY configuration, data_fingerprint, protocol, device;

-- The fronts: what nothing beats on mean validation quality and cost. A row stays if it is the best at its
-- cost and better than all that is cheaper.
CREATE OR REPLACE VIEW pareto_memory AS
SELECT * FROM configurations
WHERE valid_ndcg_10 IS NOT NULL AND peak_bytes IS NOT NULL
QUALIFY valid_ndcg_10 = max(valid_ndcg_10) OVER (
        PARTITION BY data_fingerprint, protocol, device, peak_bytes
    )
    AND valid_ndcg_10 > coalesce(max(valid_ndcg_10) OVER (
        PARTITION BY data_fingerprint, protocol, device ORDER BY peak_bytes
        RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW EXCLUDE GROUP
    ), '-infinity'::DOUBLE)
ORDER BY data_fingerprint, protocol, device, peak_bytes, configuration;

CREATE OR REPLACE VIEW pareto_time AS
SELECT * FROM configurations
WHERE valid_ndcg_10 IS NOT NULL AND train_s IS NOT NULL
QUALIFY valid_ndcg_10 = max(valid_ndcg_10) OVER (
        PARTITION BY data_fingerprint, protocol, device, train_s
    )
    AND valid_ndcg_10 > coalesce(max(valid_ndcg_10) OVER (
        PARTITION BY data_fingerprint, protocol, device ORDER BY train_s
        RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW EXCLUDE GROUP
    ), '-infinity'::DOUBLE)
ORDER BY data_fingerprint, protocol, device, train_s, configuration;

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

-- The best configuration, chosen on validation, whose every seed stayed within `budget` bytes:
-- one row for each data set, protocol and device.
CREATE OR REPLACE MACRO best_under_budget(budget) AS TABLE
SELECT * FROM configurations
WHERE peak_bytes_max <= budget AND valid_ndcg_10 IS NOT NULL
QUALIFY row_number() OVER (
    PARTITION BY data_fingerprint, protocol, device
    ORDER BY valid_ndcg_10 DESC, peak_bytes, configuration
) = 1
ORDER BY data_fingerprint, protocol, device;

INSERT INTO meta (schema_version, created_by, created_at) VALUES
(1, 'scalelab 0.1.0, duckdb 2.0.1', '2026-01-02 00:00:00');

INSERT INTO studies (study_id, name, spec_toml, created_at) VALUES
('study-1', 'losses', 'base = "sasrec-synthetic"   # kept as it was typed
repeats = 2

[axes]
"loss.positions" = ["all", "last"]

[[cells]]
"loss.name" = "bce"
"loss.form" = "sum"

[[cells]]
"loss.name" = "sampled_softmax"
"loss.mask_hits" = false

[final]
per = "loss.positions"

[set]
loss = {form = "mean", name = "bce"}
', '2026-01-02 03:04:05');

INSERT INTO runs (run_id, study_id, fingerprint, attempt, outcome, phase, error, dataset, data_fingerprint, num_users, num_items, num_interactions, protocol, model, loss, batch_size, max_len, hidden_dim, num_negatives, rounds, n_buckets, n_chunks, n_extra_chunks, seed, spec, started_at, wall_s, train_s, eval_s, best_epoch, epochs, tokens_per_s, wait_fraction, configuration, device, valid_ndcg_10, test_ndcg_10, oracle_ndcg_10, peak_kind, peak_bytes, predicted_peak_bytes, eval_peak_bytes, host_rss_bytes, num_children) VALUES
('run-000000', 'study-1', '0ba83e34454f51ec', 1, 'done', NULL, NULL, 'synthetic', 'synthetic-data', 20000, 5000, 400000, 'leave-one-out, seen excluded', 'sasrec', 'bce', 128, 50, 64, 64, NULL, NULL, NULL, NULL, 0, '{"batch": {"max_len": 50, "packer": "first_fit", "size": 128}, "data": {"cut": "", "data_seed": 0, "drop": "none", "exclude_seen": true, "exponent": 1.0, "items_per_taste": 100, "max_eval_users": 0, "max_length": 200, "mean_length": 20.0, "min_item_count": 0, "min_length": 5, "min_user_count": 0, "name": "", "num_interactions": 0, "num_items": 5000, "num_successors": 8, "num_users": 10000, "path": null, "quantile": 0.95, "reader": "synthetic", "repeats": false, "sharpness": 0.6, "split": "leave_one_out", "successor_exponent": 0.5, "taste": 0.3, "tastes_per_user": 3, "ties": "file", "transition": 0.6, "valid_cut": ""}, "device": {"name": "cpu", "threads": 0}, "loss": {"form": "sum", "mask_hits": true, "name": "bce", "positions": "all"}, "model": {"activation": "gelu", "align": "start", "dropout": 0.2, "hidden_dim": 64, "init_std": 0.02, "inner_dim": 0, "name": "sasrec", "norm": "post", "num_blocks": 2, "num_heads": 2}, "negatives": [{"name": "uniform", "num_negatives": 64, "per": "position", "reject": false}], "train": {"accumulate": 1, "compile": false, "ema_decay": 0.0, "epochs": 20, "eval_every": 1, "learning_rate": 0.001, "max_steps": 0, "optimizer": "adam", "patience": 3, "precision": "fp32", "seed": 0, "weight_decay": 0.0}}', '2026-01-02 03:04:05', 14.167, 11.667, 1.4, 1, 3, NULL, 0.002, 'a151ede79b2f', 'AMD EPYC 7763', 0.075595, 0.070304, 0.142, 'requested', 118538666, 118585447, 39512888, 747684266, 23),
('run-000001', 'study-1', 'abb81e7d3d2ea64d', 1, 'done', NULL, NULL, 'synthetic', 'synthetic-data', 20000, 5000, 400000, 'leave-one-out, seen excluded', 'sasrec', 'bce', 128, 50, 64, 64, NULL, NULL, NULL, NULL, 1, '{"batch": {"max_len": 50, "packer": "first_fit", "size": 128}, "data": {"cut": "", "data_seed": 0, "drop": "none", "exclude_seen": true, "exponent": 1.0, "items_per_taste": 100, "max_eval_users": 0, "max_length": 200, "mean_length": 20.0, "min_item_count": 0, "min_length": 5, "min_user_count": 0, "name": "", "num_interactions": 0, "num_items": 5000, "num_successors": 8, "num_users": 10000, "path": null, "quantile": 0.95, "reader": "synthetic", "repeats": false, "sharpness": 0.6, "split": "leave_one_out", "successor_exponent": 0.5, "taste": 0.3, "tastes_per_user": 3, "ties": "file", "transition": 0.6, "valid_cut": ""}, "device": {"name": "cpu", "threads": 0}, "loss": {"form": "sum", "mask_hits": true, "name": "bce", "positions": "all"}, "model": {"activation": "gelu", "align": "start", "dropout": 0.2, "hidden_dim": 64, "init_std": 0.02, "inner_dim": 0, "name": "sasrec", "norm": "post", "num_blocks": 2, "num_heads": 2}, "negatives": [{"name": "uniform", "num_negatives": 64, "per": "position", "reject": false}], "train": {"accumulate": 1, "compile": false, "ema_decay": 0.0, "epochs": 20, "eval_every": 1, "learning_rate": 0.001, "max_steps": 0, "optimizer": "adam", "patience": 3, "precision": "fp32", "seed": 1, "weight_decay": 0.0}}', '2026-01-02 03:05:05', 13.34, 10.84, 1.4, 1, 3, NULL, 0.002, 'a151ede79b2f', 'AMD EPYC 7763', 0.075378, 0.070102, 0.142, 'requested', 118772670, 118750173, 39590890, 747918270, 23),
('run-000002', 'study-1', '48a18b337d55e526', 1, 'done', NULL, NULL, 'synthetic', 'synthetic-data', 20000, 5000, 400000, 'leave-one-out, seen excluded', 'sasrec', 'rece', 128, 50, 64, 0, 2, 'auto', 4, 1, 0, '{"batch": {"max_len": 50, "packer": "first_fit", "size": 128}, "data": {"cut": "", "data_seed": 0, "drop": "none", "exclude_seen": true, "exponent": 1.0, "items_per_taste": 100, "max_eval_users": 0, "max_length": 200, "mean_length": 20.0, "min_item_count": 0, "min_length": 5, "min_user_count": 0, "name": "", "num_interactions": 0, "num_items": 5000, "num_successors": 8, "num_users": 10000, "path": null, "quantile": 0.95, "reader": "synthetic", "repeats": false, "sharpness": 0.6, "split": "leave_one_out", "successor_exponent": 0.5, "taste": 0.3, "tastes_per_user": 3, "ties": "file", "transition": 0.6, "valid_cut": ""}, "device": {"name": "cpu", "threads": 0}, "loss": {"n_buckets": "auto", "n_chunks": 4, "n_extra_chunks": 1, "name": "rece", "positions": "all", "rounds": 2}, "model": {"activation": "gelu", "align": "start", "dropout": 0.2, "hidden_dim": 64, "init_std": 0.02, "inner_dim": 0, "name": "sasrec", "norm": "post", "num_blocks": 2, "num_heads": 2}, "negatives": [], "train": {"accumulate": 1, "compile": false, "ema_decay": 0.0, "epochs": 20, "eval_every": 1, "learning_rate": 0.001, "max_steps": 0, "optimizer": "adam", "patience": 3, "precision": "fp32", "seed": 0, "weight_decay": 0.0}}', '2026-01-02 03:06:05', 14.866, 12.366, 1.4, 1, 3, NULL, 0.002, '9132a3f0e907', 'AMD EPYC 7763', 0.119665, 0.111289, 0.142, 'requested', 137554314, 137945331, 45851438, 766699914, 23),
('run-000003', 'study-1', '275313a5b173b17e', 1, 'done', NULL, NULL, 'synthetic', 'synthetic-data', 20000, 5000, 400000, 'leave-one-out, seen excluded', 'sasrec', 'sampled_softmax', 128, 50, 64, 64, NULL, NULL, NULL, NULL, 0, '{"batch": {"max_len": 50, "packer": "first_fit", "size": 128}, "data": {"cut": "", "data_seed": 0, "drop": "none", "exclude_seen": true, "exponent": 1.0, "items_per_taste": 100, "max_eval_users": 0, "max_length": 200, "mean_length": 20.0, "min_item_count": 0, "min_length": 5, "min_user_count": 0, "name": "", "num_interactions": 0, "num_items": 5000, "num_successors": 8, "num_users": 10000, "path": null, "quantile": 0.95, "reader": "synthetic", "repeats": false, "sharpness": 0.6, "split": "leave_one_out", "successor_exponent": 0.5, "taste": 0.3, "tastes_per_user": 3, "ties": "file", "transition": 0.6, "valid_cut": ""}, "device": {"name": "cpu", "threads": 0}, "loss": {"kernel": "auto", "logq": 0.0, "mask_hits": false, "name": "sampled_softmax", "positions": "last", "top_k": null}, "model": {"activation": "gelu", "align": "start", "dropout": 0.2, "hidden_dim": 64, "init_std": 0.02, "inner_dim": 0, "name": "sasrec", "norm": "post", "num_blocks": 2, "num_heads": 2}, "negatives": [{"name": "uniform", "num_negatives": 64, "per": "position", "reject": false}], "train": {"accumulate": 1, "compile": false, "ema_decay": 0.0, "epochs": 20, "eval_every": 1, "learning_rate": 0.001, "max_steps": 0, "optimizer": "adam", "patience": 3, "precision": "fp32", "seed": 0, "weight_decay": 0.0}}', '2026-01-02 03:07:05', 13.231, 10.731, 1.4, 1, 3, NULL, 0.002, '7a1183d4bac9', 'AMD EPYC 7763', 0.101652, 0.094537, 0.142, 'requested', 119659422, 119931098, 39886474, 748805022, 23),
('run-000004', 'study-1', '36bd1396995b777a', 1, 'oom', 'loss', 'out of memory: 38.1 GiB asked for the logits', 'synthetic', 'synthetic-data', 20000, 5000, 400000, 'leave-one-out, seen excluded', 'sasrec', 'dense_ce', 128, 50, 64, 0, NULL, NULL, NULL, NULL, 0, '{"batch": {"max_len": 50, "packer": "first_fit", "size": 128}, "data": {"cut": "", "data_seed": 0, "drop": "none", "exclude_seen": true, "exponent": 1.0, "items_per_taste": 100, "max_eval_users": 0, "max_length": 200, "mean_length": 20.0, "min_item_count": 0, "min_length": 5, "min_user_count": 0, "name": "", "num_interactions": 0, "num_items": 5000, "num_successors": 8, "num_users": 10000, "path": null, "quantile": 0.95, "reader": "synthetic", "repeats": false, "sharpness": 0.6, "split": "leave_one_out", "successor_exponent": 0.5, "taste": 0.3, "tastes_per_user": 3, "ties": "file", "transition": 0.6, "valid_cut": ""}, "device": {"name": "cpu", "threads": 0}, "loss": {"include_padding": false, "name": "dense_ce", "positions": "all"}, "model": {"activation": "gelu", "align": "start", "dropout": 0.2, "hidden_dim": 64, "init_std": 0.02, "inner_dim": 0, "name": "sasrec", "norm": "post", "num_blocks": 2, "num_heads": 2}, "negatives": [], "train": {"accumulate": 1, "compile": false, "ema_decay": 0.0, "epochs": 20, "eval_every": 1, "learning_rate": 0.001, "max_steps": 0, "optimizer": "adam", "patience": 3, "precision": "fp32", "seed": 0, "weight_decay": 0.0}}', '2026-01-02 03:08:05', 3.2, NULL, NULL, NULL, NULL, NULL, NULL, 'c01c7a86c5eb', 'AMD EPYC 7763', NULL, NULL, NULL, 'requested', 1533320538, 1536031563, 511106846, 2162466138, 13);

INSERT INTO metrics (run_id, split, epoch, name, k, value) VALUES
('run-000000', 'valid', 1, 'ndcg', 10, 0.075595),
('run-000000', 'test', 1, 'ndcg', 10, 0.070304),
('run-000000', 'valid', 1, 'hr', 10, 0.136072),
('run-000000', 'test', 1, 'hr', 10, 0.126547),
('run-000000', 'valid', 2, 'ndcg', 10, 0.119017),
('run-000000', 'valid', 2, 'hr', 10, 0.214231),
('run-000000', 'valid', 3, 'ndcg', 10, 0.146271),
('run-000000', 'valid', 3, 'hr', 10, 0.263288),
('run-000000', 'test', 1, 'oracle_ndcg', 10, 0.142),
('run-000000', 'test', 1, 'coverage', NULL, 0.185408),
('run-000001', 'valid', 1, 'ndcg', 10, 0.075378),
('run-000001', 'test', 1, 'ndcg', 10, 0.070102),
('run-000001', 'valid', 1, 'hr', 10, 0.135681),
('run-000001', 'test', 1, 'hr', 10, 0.126183),
('run-000001', 'valid', 2, 'ndcg', 10, 0.118675),
('run-000001', 'valid', 2, 'hr', 10, 0.213615),
('run-000001', 'valid', 3, 'ndcg', 10, 0.145851),
('run-000001', 'valid', 3, 'hr', 10, 0.262531),
('run-000001', 'test', 1, 'oracle_ndcg', 10, 0.142),
('run-000001', 'test', 1, 'coverage', NULL, 0.284786),
('run-000002', 'valid', 1, 'ndcg', 10, 0.119665),
('run-000002', 'test', 1, 'ndcg', 10, 0.111289),
('run-000002', 'valid', 1, 'hr', 10, 0.215398),
('run-000002', 'test', 1, 'hr', 10, 0.20032),
('run-000002', 'valid', 2, 'ndcg', 10, 0.188401),
('run-000002', 'valid', 2, 'hr', 10, 0.339122),
('run-000002', 'valid', 3, 'ndcg', 10, 0.231543),
('run-000002', 'valid', 3, 'hr', 10, 0.416777),
('run-000002', 'test', 1, 'oracle_ndcg', 10, 0.142),
('run-000002', 'test', 1, 'coverage', NULL, 0.265538),
('run-000003', 'valid', 1, 'ndcg', 10, 0.101652),
('run-000003', 'test', 1, 'ndcg', 10, 0.094537),
('run-000003', 'valid', 1, 'hr', 10, 0.182974),
('run-000003', 'test', 1, 'hr', 10, 0.170166),
('run-000003', 'valid', 2, 'ndcg', 10, 0.160041),
('run-000003', 'valid', 2, 'hr', 10, 0.288074),
('run-000003', 'valid', 3, 'ndcg', 10, 0.196689),
('run-000003', 'valid', 3, 'hr', 10, 0.354041),
('run-000003', 'test', 1, 'oracle_ndcg', 10, 0.142),
('run-000003', 'test', 1, 'coverage', NULL, 0.344378);

INSERT INTO memory (run_id, stage, kind, component, bytes, reason, source) VALUES
('run-000000', 'train', 'requested', 'item_table', 25600256, NULL, 'measured'),
('run-000000', 'train', 'requested', 'other', 1234, NULL, 'measured'),
('run-000000', 'train', 'requested', 'total', 118538666, NULL, 'measured'),
('run-000000', 'train', 'requested', 'item_table', 25610359, NULL, 'predicted'),
('run-000000', 'train', 'requested', 'other', 1234, NULL, 'predicted'),
('run-000000', 'train', 'requested', 'total', 118585447, NULL, 'predicted'),
('run-000000', 'train', 'allocated', 'total', 119771302, NULL, 'predicted'),
('run-000000', 'train', 'reserved', 'total', 132815701, NULL, 'predicted'),
('run-000000', 'eval', 'requested', 'total', 39512888, NULL, 'measured'),
('run-000000', 'process', 'host_rss', 'total', 747684266, NULL, 'measured'),
('run-000000', 'train', 'allocated', 'total', NULL, 'no CUDA device', 'measured'),
('run-000001', 'train', 'requested', 'item_table', 25600256, NULL, 'measured'),
('run-000001', 'train', 'requested', 'other', 1234, NULL, 'measured'),
('run-000001', 'train', 'requested', 'total', 118772670, NULL, 'measured'),
('run-000001', 'train', 'requested', 'item_table', 25595407, NULL, 'predicted'),
('run-000001', 'train', 'requested', 'other', 1234, NULL, 'predicted'),
('run-000001', 'train', 'requested', 'total', 118750173, NULL, 'predicted'),
('run-000001', 'train', 'allocated', 'total', 119937675, NULL, 'predicted'),
('run-000001', 'train', 'reserved', 'total', 133000194, NULL, 'predicted'),
('run-000001', 'eval', 'requested', 'total', 39590890, NULL, 'measured'),
('run-000001', 'process', 'host_rss', 'total', 747918270, NULL, 'measured'),
('run-000001', 'train', 'allocated', 'total', NULL, 'no CUDA device', 'measured'),
('run-000002', 'train', 'requested', 'item_table', 25600256, NULL, 'measured'),
('run-000002', 'train', 'requested', 'other', 1234, NULL, 'measured'),
('run-000002', 'train', 'requested', 'total', 137554314, NULL, 'measured'),
('run-000002', 'train', 'requested', 'item_table', 25673028, NULL, 'predicted'),
('run-000002', 'train', 'requested', 'other', 1238, NULL, 'predicted'),
('run-000002', 'train', 'requested', 'total', 137945331, NULL, 'predicted'),
('run-000002', 'train', 'allocated', 'total', 139324784, NULL, 'predicted'),
('run-000002', 'train', 'reserved', 'total', 154498771, NULL, 'predicted'),
('run-000002', 'eval', 'requested', 'total', 45851438, NULL, 'measured'),
('run-000002', 'process', 'host_rss', 'total', 766699914, NULL, 'measured'),
('run-000002', 'train', 'allocated', 'total', NULL, 'no CUDA device', 'measured'),
('run-000003', 'train', 'requested', 'item_table', 25600256, NULL, 'measured'),
('run-000003', 'train', 'requested', 'other', 1234, NULL, 'measured'),
('run-000003', 'train', 'requested', 'total', 119659422, NULL, 'measured'),
('run-000003', 'train', 'requested', 'item_table', 25658379, NULL, 'predicted'),
('run-000003', 'train', 'requested', 'other', 1237, NULL, 'predicted'),
('run-000003', 'train', 'requested', 'total', 119931098, NULL, 'predicted'),
('run-000003', 'train', 'allocated', 'total', 121130410, NULL, 'predicted'),
('run-000003', 'train', 'reserved', 'total', 134322831, NULL, 'predicted'),
('run-000003', 'eval', 'requested', 'total', 39886474, NULL, 'measured'),
('run-000003', 'process', 'host_rss', 'total', 748805022, NULL, 'measured'),
('run-000003', 'train', 'allocated', 'total', NULL, 'no CUDA device', 'measured'),
('run-000004', 'train', 'requested', 'item_table', 25600256, NULL, 'measured'),
('run-000004', 'train', 'requested', 'other', 1234, NULL, 'measured'),
('run-000004', 'train', 'requested', 'total', 1533320538, NULL, 'measured'),
('run-000004', 'train', 'requested', 'item_table', 25645519, NULL, 'predicted'),
('run-000004', 'train', 'requested', 'other', 1236, NULL, 'predicted'),
('run-000004', 'train', 'requested', 'total', 1536031563, NULL, 'predicted'),
('run-000004', 'train', 'allocated', 'total', 1551391879, NULL, 'predicted'),
('run-000004', 'train', 'reserved', 'total', 1720355351, NULL, 'predicted'),
('run-000004', 'eval', 'requested', 'total', 511106846, NULL, 'measured'),
('run-000004', 'process', 'host_rss', 'total', 2162466138, NULL, 'measured'),
('run-000004', 'train', 'allocated', 'total', NULL, 'no CUDA device', 'measured');

INSERT INTO samples (run_id, at_s, probe, name, value, unit) VALUES
('run-000000', 0.5, 'host_rss', 'rss', 1500000000.0, 'byte'),
('run-000001', 0.5, 'host_rss', 'rss', 1500000000.0, 'byte'),
('run-000002', 0.5, 'host_rss', 'rss', 1500000000.0, 'byte'),
('run-000003', 0.5, 'host_rss', 'rss', 1500000000.0, 'byte'),
('run-000004', 0.5, 'host_rss', 'rss', 1500000000.0, 'byte');

INSERT INTO environments (run_id, host, device, device_bytes, driver, torch, python, scalelab, "commit", threads) VALUES
('run-000000', 'fake', 'AMD EPYC 7763', 25769803776, NULL, '2.13.0', '3.11.9', '0.1.0', '0123abc', 2),
('run-000001', 'fake', 'AMD EPYC 7763', 25769803776, NULL, '2.13.0', '3.11.9', '0.1.0', '0123abc', 2),
('run-000002', 'fake', 'AMD EPYC 7763', 25769803776, NULL, '2.13.0', '3.11.9', '0.1.0', '0123abc', 2),
('run-000003', 'fake', 'AMD EPYC 7763', 25769803776, NULL, '2.13.0', '3.11.9', '0.1.0', '0123abc', 2),
('run-000004', 'fake', 'AMD EPYC 7763', 25769803776, NULL, '2.13.0', '3.11.9', '0.1.0', '0123abc', 2);
