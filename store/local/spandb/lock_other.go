//go:build !unix

package spandb

import (
	"fmt"
	"os"
	"path/filepath"
)

// lockDir makes the lock file; it keeps nobody out where there are no advisory locks.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("cannot lock span folder: %w", err)
	}
	return f, nil
}
