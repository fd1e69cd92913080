package docdb

import (
	"strings"
	"testing"
)

// What is asked every second must not walk over everything that is kept.
func TestFewAreFoundByTheirIndex(t *testing.T) {
	db := openTest(t, t.TempDir())
	for index, stmt := range map[string]string{
		"cells_late": `SELECT DISTINCT pipeline, window_start, width FROM cells INDEXED BY cells_late WHERE tenant=? AND updated>=? AND window_start>0 AND updated-window_start>900
ORDER BY pipeline, window_start, width`,
		"verdicts_bad": `SELECT revision, body FROM verdicts INDEXED BY verdicts_bad WHERE tenant=? AND window_start>=? AND window_start<? AND (?='' OR pipeline=?) AND (NOT ? OR settled) AND state NOT IN ('OK', 'FILTERED')
ORDER BY pipeline, kind, from_stage, destination, consumer_group, to_stage, window_start, width`,
	} {
		plan := planOf(t, db, stmt)
		if !strings.Contains(plan, index) {
			t.Errorf("%s is not used: %q", index, plan)
		}
	}
}

func planOf(t *testing.T, db *DB, stmt string) string {
	t.Helper()
	args := make([]any, strings.Count(stmt, "?"))
	for i := range args {
		args[i] = 1
	}
	rows, err := db.read.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+stmt, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var plan []string
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, detail)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(plan, "; ")
}
