// Package docdb keeps the ledger (audit cells, barriers, verdicts) and the catalog (named documents) in one SQLite file.
//
// Cells come from ingest, barriers and verdicts from query, documents from the API; all go to query, alerts and dashboards.
// A write returns when its transaction is on disk; writes that wait for one another share a transaction.
package docdb

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/pressly/goose/v3"
	"modernc.org/sqlite" // also registers the driver
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/weirhq/weir/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Config bounds the ledger and the catalog.
type Config struct {
	// Dir holds the file weir.db.
	Dir string `yaml:"-"`
	// Retention is how long cells, auditors, barriers and verdicts are kept.
	Retention time.Duration `yaml:"retention"`
	// History is how many versions of a document are kept.
	History int `yaml:"history"`
	// MaxDocument bounds the body of a document, in bytes.
	MaxDocument int `yaml:"max_document_bytes"`
	// Readers bounds queries at the same time.
	Readers int `yaml:"readers"`
}

// DefaultConfig keeps the ledger for 30 days and 50 versions of each document.
func DefaultConfig() Config {
	return Config{Retention: 30 * 24 * time.Hour, History: 50, MaxDocument: 4 << 20, Readers: 4}
}

// Validate tells the first value that cannot work.
func (c Config) Validate() error {
	switch {
	case c.Dir == "":
		return fmt.Errorf("cannot open ledger: dir is %q; name a folder", c.Dir)
	case c.Retention < time.Hour:
		return fmt.Errorf("cannot use ledger retention %s: give at least 1h", c.Retention)
	case c.History < 1 || c.MaxDocument < 1 || c.Readers < 1:
		return fmt.Errorf("cannot use history %d, max_document_bytes %d, readers %d: each must be at least 1", c.History, c.MaxDocument, c.Readers)
	}
	return nil
}

// DB is the open file. It implements store.Ledger; Catalog returns its store.Catalog.
type DB struct {
	cfg    Config
	path   string
	logger *slog.Logger
	meters meters

	write *sql.DB // one connection
	read  *sql.DB

	turn  sync.Mutex // held by the leader of a group of writes
	conn  *sql.Conn
	stmts map[string]*sql.Stmt // prepared on conn

	mu      sync.Mutex // guards what follows
	pending []*job
	closed  bool
}

type meters struct {
	cells, commits, failures, badSamples *metrics.Counter
}

// New opens the file and brings its schema up to date.
func New(ctx context.Context, cfg Config, logger *slog.Logger, set *metrics.Set) (_ *DB, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("cannot make ledger folder: %w", err)
	}
	db := &DB{cfg: cfg, path: filepath.Join(cfg.Dir, "weir.db"), logger: logger, stmts: map[string]*sql.Stmt{}}
	db.meters = meters{
		cells:    set.NewCounter(`weir_store_cells_stored_total`),
		commits:  set.NewCounter(`weir_store_syncs_total{part="ledger"}`),
		failures: set.NewCounter(`weir_store_write_failures_total{part="ledger"}`),

		badSamples: set.NewCounter(`weir_store_damaged_samples_total`),
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("cannot open ledger %q: %w", db.path, err), db.Close())
		}
	}()
	pragmas := url.Values{
		"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "cache_size(-16000)", "journal_size_limit(67108864)"},
		"_txlock": {"immediate"},
	}
	if db.write, err = sql.Open("sqlite", "file:"+url.PathEscape(db.path)+"?"+pragmas.Encode()); err != nil {
		return nil, err
	}
	db.write.SetMaxOpenConns(1)
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db.write, sub, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, err
	}
	if _, err = p.Up(ctx); err != nil {
		return nil, fmt.Errorf("cannot migrate: %w", err)
	}
	if db.conn, err = db.write.Conn(ctx); err != nil {
		return nil, err
	}
	pragmas["_pragma"] = []string{"busy_timeout(10000)", "query_only(1)", "cache_size(-16000)"}
	pragmas.Del("_txlock")
	if db.read, err = sql.Open("sqlite", "file:"+url.PathEscape(db.path)+"?"+pragmas.Encode()); err != nil {
		return nil, err
	}
	db.read.SetMaxOpenConns(cfg.Readers)
	return db, db.read.PingContext(ctx)
}

// job is one write. do runs inside a transaction that it shares with others.
type job struct {
	do   func(ctx context.Context, w *writer) error
	done chan struct{}
	err  error
}

// writer prepares each statement once.
type writer struct{ db *DB }

func (w *writer) exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	s, err := w.db.prepare(ctx, query) //nolint:sqlclosecheck // kept, and closed with the DB
	if err != nil {
		return nil, err
	}
	return s.ExecContext(ctx, args...)
}

func (w *writer) row(ctx context.Context, query string, args []any, dst ...any) error {
	s, err := w.db.prepare(ctx, query) //nolint:sqlclosecheck // kept, and closed with the DB
	if err != nil {
		return err
	}
	return s.QueryRowContext(ctx, args...).Scan(dst...)
}

func (db *DB) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if s, ok := db.stmts[query]; ok {
		return s, nil
	}
	s, err := db.conn.PrepareContext(ctx, query)
	if err == nil {
		db.stmts[query] = s
	}
	return s, err
}

// maxGroup bounds the writes that share a transaction.
const maxGroup = 256

// commit runs do in a transaction and returns when that is on disk. The first caller leads: it writes for all
// who queued up while the one before was waiting for the disk.
func (db *DB) commit(ctx context.Context, what string, do func(ctx context.Context, w *writer) error) error {
	j := &job{do: do, done: make(chan struct{})}
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return fmt.Errorf("cannot %s: the store is closed: %w", what, store.ErrUnavailable)
	}
	db.pending = append(db.pending, j)
	db.mu.Unlock()

	for !db.lead(ctx, j) {
	}
	if j.err != nil {
		return fmt.Errorf("cannot %s: %w", what, unavailable(j.err))
	}
	return nil
}

// lead writes a group of pending jobs unless j is done already, and reports whether j is.
func (db *DB) lead(ctx context.Context, j *job) bool {
	db.turn.Lock()
	defer db.turn.Unlock()
	select {
	case <-j.done: // a leader before us has written it
		return true
	default:
	}
	db.mu.Lock()
	n := min(len(db.pending), maxGroup)
	group := db.pending[:n:n]
	db.pending = append([]*job(nil), db.pending[n:]...)
	db.mu.Unlock()
	// Others wait for this transaction too: it does not end with the context of its leader.
	db.transact(context.WithoutCancel(ctx), group)
	select {
	case <-j.done:
		return true
	default:
		return false // more than maxGroup were before us
	}
}

// transact runs a group of jobs in one transaction; a job that fails is rolled back alone. turn is held.
func (db *DB) transact(ctx context.Context, group []*job) {
	err := db.try(ctx, group)
	for _, j := range group {
		if err != nil {
			j.err = err
		}
		close(j.done)
	}
	if err != nil {
		db.meters.failures.Inc()
		return
	}
	db.meters.commits.Inc()
}

func (db *DB) try(ctx context.Context, group []*job) error {
	if db.conn == nil {
		return fmt.Errorf("the store is closed: %w", store.ErrUnavailable)
	}
	w := &writer{db}
	if _, err := w.exec(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	for _, j := range group {
		if _, err := w.exec(ctx, "SAVEPOINT job"); err != nil {
			return errors.Join(err, db.rollback(ctx))
		}
		end := "RELEASE job"
		if j.err = j.do(ctx, w); j.err != nil {
			if fatal(j.err) {
				return errors.Join(j.err, db.rollback(ctx))
			}
			if _, err := w.exec(ctx, "ROLLBACK TO job"); err != nil {
				return errors.Join(err, db.rollback(ctx))
			}
		}
		if _, err := w.exec(ctx, end); err != nil {
			return errors.Join(err, db.rollback(ctx))
		}
	}
	if _, err := w.exec(ctx, "COMMIT"); err != nil {
		return errors.Join(err, db.rollback(ctx))
	}
	return nil
}

// rollback ends the transaction, which SQLite may have ended by itself when the disk was full.
func (db *DB) rollback(ctx context.Context) error {
	_, err := db.conn.ExecContext(ctx, "ROLLBACK")
	var e *sqlite.Error
	if errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_ERROR {
		return nil // no transaction is active
	}
	return err
}

// fatal reports errors of the disk rather than of the statement.
func fatal(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED,
		sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CORRUPT:
		return true
	}
	return false
}

// unavailable marks errors after which the sender should try again.
func unavailable(err error) error {
	if fatal(err) {
		return fmt.Errorf("%w: %w", err, store.ErrUnavailable)
	}
	return err
}

// Bytes is the size of the file with its write-ahead log.
func (db *DB) Bytes() uint64 {
	n := uint64(0)
	for _, p := range []string{db.path, db.path + "-wal"} {
		if st, err := os.Stat(p); err == nil {
			n += uint64(st.Size())
		}
	}
	return n
}

// Run applies retention until ctx ends, then closes the file.
func (db *DB) Run(ctx context.Context) error {
	t := time.NewTicker(10 * time.Minute)
	defer t.Stop()
	for {
		if err := db.Expire(ctx, time.Now()); err != nil && ctx.Err() == nil {
			db.logger.Warn("ledger retention failed, it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return db.Close()
		case <-t.C:
		}
	}
}

// Close waits for the running transaction and closes the file; later calls return store.ErrUnavailable.
func (db *DB) Close() error {
	db.mu.Lock()
	was := db.closed
	db.closed = true
	db.mu.Unlock()
	if was {
		return nil
	}
	db.turn.Lock()
	defer db.turn.Unlock()
	var errs []error
	for _, s := range db.stmts {
		errs = append(errs, s.Close())
	}
	db.stmts = map[string]*sql.Stmt{}
	if db.read != nil {
		errs = append(errs, db.read.Close())
	}
	if db.conn != nil {
		errs = append(errs, db.conn.Close())
		db.conn = nil
	}
	if db.write != nil {
		errs = append(errs, db.write.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cannot close ledger %q: %w", db.path, err)
	}
	return nil
}

// query reads rows through the pool.
func query[T any](ctx context.Context, db *DB, what string, scan func(*sql.Rows) (T, error), stmt string, args ...any) ([]T, error) {
	fail := func(err error) ([]T, error) {
		db.mu.Lock()
		closed := db.closed
		db.mu.Unlock()
		if closed {
			return nil, fmt.Errorf("cannot %s: the store is closed: %w", what, store.ErrUnavailable)
		}
		return nil, fmt.Errorf("cannot %s: %w", what, unavailable(err))
	}
	rows, err := db.read.QueryContext(ctx, stmt, args...)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = rows.Close() }()
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return fail(err)
		}
		out = append(out, v)
	}
	if err := rows.Err(); err != nil {
		return fail(err)
	}
	return out, nil
}
