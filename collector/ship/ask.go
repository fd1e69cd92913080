package ship

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Asker puts small questions to the server beside what is shipped; a long body under way does not hold them up.
type Asker struct {
	cfg    Config
	node   string
	url    string
	client *http.Client
	token  *token
}

// NewAsker makes an asker for the leases' path, or nil when the configuration names none.
func NewAsker(cfg Config, node string) (*Asker, error) {
	if cfg.Paths.Leases == "" {
		return nil, nil //nolint:nilnil // nobody to ask is an answer
	}
	url, err := cfg.address(cfg.Paths.Leases, "leases")
	if err != nil {
		return nil, err
	}
	t, err := cfg.tls()
	if err != nil {
		return nil, err
	}
	return &Asker{cfg: cfg, node: node, url: url, token: &token{file: cfg.TokenFile}, client: &http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: t, MaxConnsPerHost: 2, MaxIdleConnsPerHost: 1, IdleConnTimeout: 2 * time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Ask sends question as JSON and reads the answer into answer.
func (a *Asker) Ask(ctx context.Context, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return fmt.Errorf("cannot write the question: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("cannot ask %q: %w", a.url, err)
	}
	for name, value := range a.cfg.Headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "weir-collector")
	req.Header.Set("Weir-Node", a.node)
	bearer, err := a.token.get()
	if err != nil {
		return err
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return fmt.Errorf("cannot ask the server: %w", err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case err != nil:
		return fmt.Errorf("cannot read the answer of the server: %w", err)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("server answered %d: %s", resp.StatusCode, words(raw))
	}
	if err := json.Unmarshal(raw, answer); err != nil {
		return fmt.Errorf("cannot read the answer of the server: %w", err)
	}
	return nil
}

// Close ends idle connections.
func (a *Asker) Close() {
	if a != nil {
		a.client.CloseIdleConnections()
	}
}
