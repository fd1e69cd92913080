-- +goose Up
-- Cells that came long after their window began: few, and looked for every second.
CREATE INDEX cells_late ON cells (tenant, updated, pipeline, window_start, width) WHERE window_start > 0 AND updated - window_start > 900;

-- Verdicts that say something is wrong: few among many.
CREATE INDEX verdicts_bad ON verdicts (tenant, window_start) WHERE state NOT IN ('OK', 'FILTERED');

-- +goose Down
DROP INDEX verdicts_bad;
DROP INDEX cells_late;
