package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/weirhq/weir/query/answer"
	"github.com/weirhq/weir/query/api"
	"github.com/weirhq/weir/store"
	"github.com/weirhq/weir/store/local"
)

// apiSource is the service with what others answer left out.
type apiSource struct{ *Service }

func (apiSource) Traces(context.Context, store.Tenant, store.SpanQuery) (answer.Traces, error) {
	return answer.Traces{}, nil
}

func (apiSource) Trace(context.Context, store.Tenant, string) (answer.Trace, error) {
	return answer.Trace{}, nil
}

func (apiSource) Alerts(context.Context, store.Tenant) (answer.Alerts, error) {
	return answer.Alerts{}, nil
}

// onDisk opens the local engine in a folder; the function closes it.
func onDisk(t *testing.T, dir string) (store.Engine, func()) {
	t.Helper()
	c := local.DefaultConfig()
	c.Dir = dir
	e, err := local.Open(t.Context(), c, slog.New(slog.DiscardHandler), metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	return e, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// What is declared, annotated and lost is asked and changed over HTTP, and is there after a restart of everything.
func TestOverHTTP(t *testing.T) {
	dir := t.TempDir()
	var d *direct
	var srv *httptest.Server
	stop := func() {}
	start := func() {
		e, closeEngine := onDisk(t, dir)
		if d == nil {
			d = newDirect(t, e)
		} else {
			d.e = e
			d.restart()
			d.pass(10)
		}
		mux := http.NewServeMux()
		api.Register(humago.New(mux, api.Config("test")), apiSource{d.s}, func(context.Context) store.Tenant { return store.DefaultTenant }, func(context.Context) string { return "tester" })
		srv = httptest.NewServer(mux)
		stop = func() {
			srv.Close()
			closeEngine()
		}
	}
	call := func(method, path string, body any, want int, into any) string {
		t.Helper()
		var b []byte
		if body != nil {
			b, _ = json.Marshal(body)
		}
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if b != nil {
			req.Header.Set("Content-Type", "application/json")
		}
		res, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != want {
			t.Errorf("%s %s: %d, want %d: %s", method, path, res.StatusCode, want, text)
		}
		if into != nil {
			if err := json.Unmarshal(text, into); err != nil {
				t.Fatalf("%s %s: %v in %s", method, path, err, text)
			}
		}
		return string(text)
	}
	start()
	for range 3 {
		d.minute(0)
	}
	lossAt := d.now
	d.minute(60)
	for range 4 {
		d.minute(0)
	}
	var c answer.PipelineConfig
	call("GET", "/api/v1/pipelines/p/config", nil, 200, &c)
	type put struct {
		YAML    string `json:"yaml"`
		Version int64  `json:"version"`
	}
	call("PUT", "/api/v1/pipelines/p/config", put{c.Proposed, 0}, 200, &c)
	if c.Version != 1 || c.By != "tester" {
		t.Errorf("%+v", c)
	}
	if s := call("PUT", "/api/v1/pipelines/p/config", put{c.Declared, 0}, 409, nil); !strings.Contains(s, "read it and try again") {
		t.Error(s)
	}
	if s := call("PUT", "/api/v1/pipelines/p/config", put{"id: p\nstages:\n- {name: a, kind: sorce}\n", 1}, 400, nil); !strings.Contains(s, `line 3: kind of a is \"sorce\"`) {
		t.Error(s)
	}
	var check answer.ConfigCheck
	call("POST", "/api/v1/pipelines/p/config/check", put{YAML: "id: p\nstagess: []\n"}, 200, &check)
	if check.OK || len(check.Findings) != 1 || check.Findings[0].Line != 2 {
		t.Errorf("%+v", check)
	}
	call("GET", "/api/v1/pipelines/none/config", nil, 404, nil)
	at := time.Now().UnixMilli()
	var a answer.Annotation
	call("POST", "/api/v1/annotations", map[string]any{"text": "sink 42", "kind": "deploy", "service": "sink", "at": at, "tags": map[string]string{"commit": "abc"}}, 200, &a)
	if a.By != "tester" || a.ID == "" || a.Tags["commit"] != "abc" {
		t.Errorf("%+v", a)
	}
	if s := call("POST", "/api/v1/annotations", map[string]any{"text": "x", "at": at / 1000}, 400, nil); !strings.Contains(s, "must be Unix milliseconds") {
		t.Error(s)
	}
	in := fmt.Sprintf("?from=%d&to=%d", d.start*1000, d.now*1000)
	var l answer.Incidents
	call("GET", "/api/v1/incidents"+in, nil, 200, &l)
	if len(l.Incidents) != 1 || l.Incidents[0].From != lossAt || l.Incidents[0].Lost != 60 {
		t.Fatalf("%+v", l)
	}
	id := l.Incidents[0].ID
	var before, after answer.IncidentDetail
	call("GET", "/api/v1/incidents/"+url.PathEscape(id), nil, 200, &before)
	stop()

	start()
	call("GET", "/api/v1/pipelines/p/config", nil, 200, &c)
	if c.Version != 1 || c.Source != "catalog" {
		t.Errorf("after a restart: %+v", c)
	}
	call("PUT", "/api/v1/pipelines/p/config", put{"id: p\nslo: {lag: 1h}\nstages:\n- {name: source, kind: source, writes: [d]}\n- {name: sink, kind: sink, reads: [{destination: d, group: g}]}\n", 1}, 200, &c)
	if c.Version != 2 {
		t.Errorf("%+v", c)
	}
	call("GET", "/api/v1/incidents/"+url.PathEscape(id), nil, 200, &after)
	if after.ID != id || after.Lost != before.Lost || after.From != before.From || after.Windows != before.Windows || after.Sentence != before.Sentence {
		t.Errorf("after a restart\n%+v, before\n%+v", after.Incident, before.Incident)
	}
	var as answer.Annotations
	call("GET", "/api/v1/annotations?pipeline=p", nil, 200, &as)
	for range 3 { // which services are those of a pipeline is looked at from time to time
		d.pass(10)
	}
	call("GET", "/api/v1/annotations?pipeline=p", nil, 200, &as)
	if len(as.Annotations) != 1 || as.Annotations[0].ID != a.ID {
		t.Errorf("after a restart: %+v", as)
	}
	call("DELETE", "/api/v1/annotations/"+a.ID, nil, 200, nil)
	call("DELETE", "/api/v1/annotations/"+a.ID, nil, 404, nil)
	call("DELETE", "/api/v1/pipelines/p/config", nil, 200, nil)
	call("DELETE", "/api/v1/pipelines/p/config", nil, 404, nil)
	stop()
}
