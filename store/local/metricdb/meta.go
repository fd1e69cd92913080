package metricdb

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/metadata"
)

// maxMetaNames and maxMetaBytes bound the metadata of one tenant.
const (
	maxMetaNames = 50_000
	maxMetaBytes = 4096
)

// metaStore keeps type, help and unit by metric name in memory and in one small file. Senders repeat
// metadata, so the file is written now and then, not with each append.
type metaStore struct {
	path string

	mu    sync.RWMutex
	m     map[string]metadata.Metadata
	dirty bool
}

type metaLine struct {
	Name string           `json:"name"`
	Type model.MetricType `json:"type,omitempty"`
	Help string           `json:"help,omitempty"`
	Unit string           `json:"unit,omitempty"`
}

// openMeta reads the file; a file that cannot be parsed is only worth a warning.
func openMeta(dir string, logger *slog.Logger) (*metaStore, error) {
	s := &metaStore{path: filepath.Join(dir, "metadata.json"), m: map[string]metadata.Metadata{}}
	data, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read metadata %q: %w", s.path, err)
	}
	lines, err := parseMeta(data)
	if err != nil {
		logger.Warn("metadata cannot be read; it comes back with the next samples", "file", s.path, "error", err)
	}
	for _, l := range lines {
		if len(s.m) < maxMetaNames {
			s.m[l.Name] = metadata.Metadata{Type: l.Type, Help: l.Help, Unit: l.Unit}
		}
	}
	return s, nil
}

func parseMeta(data []byte) ([]metaLine, error) {
	var lines []metaLine
	if err := json.Unmarshal(data, &lines); err != nil {
		return nil, fmt.Errorf("cannot parse metadata: %w", err)
	}
	return lines, nil
}

// put takes what is new; name and m need not outlive the call.
func (s *metaStore) put(name string, m metadata.Metadata) {
	s.mu.RLock()
	old, ok := s.m[name]
	full := len(s.m) >= maxMetaNames
	s.mu.RUnlock()
	if ok && old == m || !ok && full {
		return
	}
	if len(m.Help) > maxMetaBytes {
		m.Help = m.Help[:maxMetaBytes]
		if old.Type == m.Type && old.Unit == m.Unit && old.Help == m.Help {
			return
		}
	}
	m = metadata.Metadata{Type: model.MetricType(strings.Clone(string(m.Type))), Help: strings.Clone(m.Help), Unit: strings.Clone(m.Unit)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m[strings.Clone(name)] = m
	s.dirty = true
}

// get returns metadata by name, "" for all, at most limit of them (0 = all).
func (s *metaStore) get(name string, limit int) map[string]metadata.Metadata {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := map[string]metadata.Metadata{}
	if name != "" {
		if m, ok := s.m[name]; ok {
			out[name] = m
		}
		return out
	}
	for n, m := range s.m {
		if limit > 0 && len(out) >= limit {
			break
		}
		out[n] = m
	}
	return out
}

// save writes the file anew when something changed.
func (s *metaStore) save() error {
	s.mu.Lock()
	if !s.dirty {
		s.mu.Unlock()
		return nil
	}
	lines := make([]metaLine, 0, len(s.m))
	for n, m := range s.m {
		lines = append(lines, metaLine{n, m.Type, m.Help, m.Unit})
	}
	s.dirty = false
	s.mu.Unlock()
	err := s.write(lines)
	if err != nil {
		s.mu.Lock()
		s.dirty = true
		s.mu.Unlock()
	}
	return err
}

func (s *metaStore) write(lines []metaLine) error {
	data, err := json.Marshal(lines)
	if err != nil {
		return fmt.Errorf("cannot encode metadata: %w", err)
	}
	tmp := s.path + ".new"
	f, err := os.Create(tmp)
	if err != nil {
		return fmt.Errorf("cannot write metadata: %w", err)
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("cannot write metadata %q: %w", tmp, err)
	}
	if err := os.Rename(tmp, s.path); err != nil {
		return fmt.Errorf("cannot replace metadata: %w", err)
	}
	return syncDir(filepath.Dir(s.path))
}
