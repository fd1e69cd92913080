package spandb

import (
	"errors"
	"fmt"
	"os"
)

// disk makes things durable. A lazy one does not, for tests that restart without a power cut.
type disk struct{ lazy bool }

// sync makes the content and length of f durable.
func (d disk) sync(f *os.File) error {
	if d.lazy {
		return nil
	}
	return syncData(f)
}

// syncDir makes names in dir durable.
func (d disk) syncDir(dir string) error {
	if d.lazy {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("cannot sync folder: %w", err)
	}
	defer func() { _ = f.Close() }()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("cannot sync folder %q: %w", dir, err)
	}
	return nil
}

// writeFile writes a whole file and syncs it.
func (d disk) writeFile(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = d.sync(f)
	}
	return errors.Join(err, f.Close())
}
