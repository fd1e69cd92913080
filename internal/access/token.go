package access

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

const (
	maxTokenFile = 4 << 20
	maxTokens    = 10_000
	// tokenPrefix makes leaked tokens easy to find for secret scanners.
	tokenPrefix = "weir_"
)

// Token is one entry of the token file. Tokens have 256 random bits, so nothing can be guessed from a
// plain SHA-256 of them: the slow hashes made for passwords would only cost time on every request.
type Token struct {
	Name        string       `yaml:"name"`
	Tenant      string       `yaml:"tenant"` // empty means "default"
	Permissions []Permission `yaml:"permissions,flow"`
	SHA256      string       `yaml:"sha256"`            // hash of the whole token, 64 hex digits
	Expires     time.Time    `yaml:"expires,omitempty"` // zero means never

	hash [sha256.Size]byte
}

func (t *Token) check() error {
	if t.Name == "" {
		return errors.New("a token without name: give it one, it is shown in logs instead of the token")
	}
	if t.Tenant == "" {
		t.Tenant = "default"
	}
	if len(t.Permissions) == 0 {
		return fmt.Errorf("token %q has no permissions: list some of ingest, query, admin", t.Name)
	}
	for _, p := range t.Permissions {
		if p != Ingest && p != Query && p != Admin {
			return fmt.Errorf("token %q: permission %q is unknown: use ingest, query or admin", t.Name, p)
		}
	}
	h, err := hex.DecodeString(t.SHA256)
	if err != nil || len(h) != sha256.Size {
		return fmt.Errorf("token %q: sha256 must be 64 hex digits, not %d characters: make the entry with `weir token`", t.Name, len(t.SHA256))
	}
	copy(t.hash[:], h)
	return nil
}

// Tokens is the checked content of a token file.
type Tokens struct{ list []Token }

// Len returns the number of tokens.
func (ts *Tokens) Len() int { return len(ts.list) }

// Load reads a token file: a YAML list of Token. Unknown keys, doubled names and doubled hashes are errors.
func Load(path string) (*Tokens, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot open token file %q: %w; make an entry for it with `weir token`", path, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxTokenFile+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read token file %q: %w", path, err)
	}
	if len(b) > maxTokenFile {
		return nil, fmt.Errorf("cannot use token file %q: it is larger than %d bytes", path, maxTokenFile)
	}
	ts, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("cannot use token file %q: %w", path, err)
	}
	return ts, nil
}

func parse(b []byte) (*Tokens, error) {
	var list []Token
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&list); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("it is empty, so nobody could enter: make an entry with `weir token`")
		}
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New("it lists no token, so nobody could enter: make an entry with `weir token`")
	}
	if len(list) > maxTokens {
		return nil, fmt.Errorf("%d tokens are more than %d", len(list), maxTokens)
	}
	names, hashes := map[string]bool{}, map[[sha256.Size]byte]string{}
	for i := range list {
		t := &list[i]
		if err := t.check(); err != nil {
			return nil, fmt.Errorf("entry %d: %w", i+1, err)
		}
		if names[t.Name] {
			return nil, fmt.Errorf("entry %d: the name %q is used twice", i+1, t.Name)
		}
		if other, ok := hashes[t.hash]; ok {
			return nil, fmt.Errorf("entry %d: %q has the same token as %q", i+1, t.Name, other)
		}
		names[t.Name], hashes[t.hash] = true, t.Name
	}
	return &Tokens{list: list}, nil
}

// find compares with every entry in constant time, so that the time of an answer tells nothing about hashes.
func (ts *Tokens) find(token string, now time.Time) (id Identity, err error) {
	h := sha256.Sum256([]byte(token))
	at := -1
	for i := range ts.list {
		if subtle.ConstantTimeCompare(h[:], ts.list[i].hash[:]) == 1 {
			at = i
		}
	}
	if at < 0 {
		return Identity{}, errUnknownToken
	}
	t := &ts.list[at]
	if !t.Expires.IsZero() && !now.Before(t.Expires) {
		return Identity{}, errExpiredToken
	}
	return Identity{Name: t.Name, Tenant: t.Tenant, Permissions: t.Permissions}, nil
}

// NewToken makes a token and the entry for the token file that admits it. The token itself is
// stored nowhere: show it once.
func NewToken(name, tenant string, permissions ...Permission) (token, entry string, err error) {
	var b [32]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", "", fmt.Errorf("cannot make a token: %w", err)
	}
	token = tokenPrefix + base64.RawURLEncoding.EncodeToString(b[:])
	h := sha256.Sum256([]byte(token))
	t := Token{Name: name, Tenant: tenant, Permissions: permissions, SHA256: hex.EncodeToString(h[:])}
	if err := t.check(); err != nil {
		return "", "", fmt.Errorf("cannot make a token: %w", err)
	}
	y, err := yaml.Marshal([]Token{t})
	if err != nil {
		return "", "", fmt.Errorf("cannot write token %q as YAML: %w", name, err)
	}
	return token, strings.TrimRight(string(y), "\n") + "\n", nil
}
