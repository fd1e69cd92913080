-- +goose Up
CREATE TABLE cells (
  tenant TEXT NOT NULL, window_start INTEGER NOT NULL, pipeline TEXT NOT NULL, stage TEXT NOT NULL, dir TEXT NOT NULL,
  destination TEXT NOT NULL, consumer_group TEXT NOT NULL, reason TEXT NOT NULL, width INTEGER NOT NULL,
  instance TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL, service TEXT NOT NULL, node TEXT NOT NULL,
  n INTEGER NOT NULL, bytes INTEGER NOT NULL, fp_sum INTEGER NOT NULL, fp_xor INTEGER NOT NULL, hashed INTEGER NOT NULL,
  late_max INTEGER NOT NULL, max_ts INTEGER NOT NULL, lossy INTEGER NOT NULL, updated INTEGER NOT NULL,
  PRIMARY KEY (tenant, window_start, pipeline, stage, dir, destination, consumer_group, reason, width, instance, epoch)
) WITHOUT ROWID;

CREATE TABLE auditors (
  tenant TEXT NOT NULL, node TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (tenant, node, epoch)
) WITHOUT ROWID;

CREATE TABLE barriers (
  tenant TEXT NOT NULL, window_start INTEGER NOT NULL, system TEXT NOT NULL, cluster TEXT NOT NULL, destination TEXT NOT NULL,
  partition TEXT NOT NULL, width INTEGER NOT NULL, end_offset INTEGER NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY (tenant, window_start, system, cluster, destination, partition, width)
) WITHOUT ROWID;

CREATE TABLE verdicts (
  tenant TEXT NOT NULL, window_start INTEGER NOT NULL, pipeline TEXT NOT NULL, kind TEXT NOT NULL, from_stage TEXT NOT NULL,
  destination TEXT NOT NULL, consumer_group TEXT NOT NULL, to_stage TEXT NOT NULL, width INTEGER NOT NULL,
  state TEXT NOT NULL, settled INTEGER NOT NULL, lost INTEGER NOT NULL, revision INTEGER NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (tenant, window_start, pipeline, kind, from_stage, destination, consumer_group, to_stage, width)
) WITHOUT ROWID;

CREATE TABLE documents (
  tenant TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL,
  body BLOB NOT NULL, author TEXT NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY (tenant, kind, name, version)
);

-- The newest version of each document, kept when it is deleted so that its numbers are never given out again.
CREATE TABLE heads (
  tenant TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, deleted INTEGER NOT NULL,
  PRIMARY KEY (tenant, kind, name)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE heads;
DROP TABLE documents;
DROP TABLE verdicts;
DROP TABLE barriers;
DROP TABLE auditors;
DROP TABLE cells;
