package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const stateFile = "audit.json"

// state is what a run leaves for the next one.
type state struct {
	Epoch  int64 `json:"epoch"`
	Closed bool  `json:"closed"`
	// Unreported are runs before Epoch whose end the server has not been told.
	Unreported []run `json:"unreported,omitempty"`
	// Lives are the senders that were there when a run ended in order.
	Lives []openLife `json:"lives,omitempty"`
}

type run struct {
	Epoch int64 `json:"epoch"`
	Open  bool  `json:"open"` // it did not end in order
}

// maxUnreported bounds the list when a collector crashes again and again before its first snapshot.
const maxUnreported = 32

func readState(dir string) (state, bool, error) {
	path := filepath.Join(dir, stateFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, false, nil
	}
	if err != nil {
		return state{}, false, fmt.Errorf("cannot read the audit state: %w", err)
	}
	var s state
	if err := json.Unmarshal(b, &s); err != nil {
		return state{}, false, fmt.Errorf("cannot read the audit state %q: %w; delete the file, and the run before counts as unknown", path, err)
	}
	return s, true, nil
}

// writeState replaces the state file; when it returns nil, the file is on disk.
func writeState(dir string, s state) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot write the audit state in %q: %w", dir, err)
		}
	}()
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, stateFile)
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
