-- +goose Up
-- Ids and latencies of a cell, packed as cell.Sample writes them; NULL where there are none.
ALTER TABLE cells ADD COLUMN sample BLOB;

-- +goose Down
ALTER TABLE cells DROP COLUMN sample;
