//go:build !linux

package spandb

import "os"

// syncData makes the content and length of f durable.
func syncData(f *os.File) error { return f.Sync() }
