-- +goose Up
CREATE TABLE pairs (
  tenant TEXT NOT NULL, window_start INTEGER NOT NULL, kind TEXT NOT NULL, pipeline TEXT NOT NULL, from_stage TEXT NOT NULL,
  system TEXT NOT NULL, destination TEXT NOT NULL, consumer_group TEXT NOT NULL, to_stage TEXT NOT NULL, width INTEGER NOT NULL,
  instance TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (tenant, window_start, kind, pipeline, from_stage, system, destination, consumer_group, to_stage, width, instance, epoch)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE pairs;
