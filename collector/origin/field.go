package origin

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	maxWalk      = 20_000           // folders looked at in one walk of the cgroup tree
	maxWalkDepth = 16               // below the root of the tree
	walkEvery    = 10 * time.Second // a field with an unknown inode starts a walk at most this often
	maxField     = 128              // longest container field taken as an id
)

// ByContainerField returns the origin that the DogStatsD field c: names: "ci-<container id>",
// "in-<inode of the container's cgroup>", or the bare id. An unusable field gives the node alone.
func (r *Resolver) ByContainerField(f string) Tags {
	t := Tags{Node: r.node}
	switch {
	case strings.HasPrefix(f, "ci-"):
		t.Container = cleanID(f[3:])
	case strings.HasPrefix(f, "in-"):
		ino, err := strconv.ParseUint(f[3:], 10, 64)
		if err == nil {
			t.Container = r.byInode(ino)
		}
	default:
		t.Container = cleanID(f)
	}
	if t.Container == "" {
		r.unknown.Inc()
		return t
	}
	if t.Service = r.service(t.Container); t.Service != "" {
		return t
	}
	r.mu.Lock()
	known, ok := r.containers.get(t.Container)
	r.mu.Unlock()
	if ok {
		return known
	}
	return t
}

// cleanID takes only what runtimes use in ids: the field comes from the network and becomes a label.
func cleanID(s string) string {
	if s == "" || len(s) > maxField {
		return ""
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '-', c == '_', c == '.':
		default:
			return ""
		}
	}
	return s
}

// byInode finds the container whose cgroup folder has this inode.
func (r *Resolver) byInode(ino uint64) string {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if id, ok := r.inodes[ino]; ok {
		r.hits.Inc()
		return id
	}
	if !r.walked.IsZero() && now.Sub(r.walked) < walkEvery {
		return ""
	}
	r.misses.Inc()
	r.walked = now
	r.inodes = r.walk()
	return r.inodes[ino]
}

// walk maps the inodes of all container folders in the cgroup tree to container ids.
func (r *Resolver) walk() map[uint64]string {
	found := map[uint64]string{}
	root := filepath.Clean(r.cfg.CgroupRoot)
	seen := 0
	// Errors are skipped: cgroups come and go while they are read.
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			if err != nil && d != nil && d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if seen++; seen > maxWalk {
			r.truncated.Inc()
			return fs.SkipAll
		}
		rel := strings.TrimPrefix(path, root)
		if strings.Count(rel, "/") > maxWalkDepth {
			return fs.SkipDir
		}
		id := parsePath(rel).container
		if id == "" {
			return nil
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil //nolint:nilerr // the cgroup is gone
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			found[st.Ino] = id
		}
		return nil
	})
	return found
}
