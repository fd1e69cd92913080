package origin

import (
	"slices"
	"strings"
)

// place is what the path of a cgroup tells.
type place struct {
	container string // id of the container
	pod       string // uid of the Kubernetes pod
	unit      string // systemd unit, without .service
}

// parseCgroup reads /proc/<pid>/cgroup, of version 1 (one line per controller) and 2 (one line).
// The first line that names a container decides.
func parseCgroup(s string) place {
	var first place
	for line := range strings.Lines(s) {
		// hierarchy:controllers:path; the path itself may hold colons.
		_, rest, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		if !ok {
			continue
		}
		_, path, ok := strings.Cut(rest, ":")
		if !ok {
			continue
		}
		p := parsePath(path)
		if p.container != "" {
			return p
		}
		if first.unit == "" {
			first = p
		}
	}
	return first
}

// parsePath takes a cgroup path apart. The innermost container wins: a container inside a container is its own.
func parsePath(path string) place {
	var p place
	parts := strings.Split(path, "/")
	for i, part := range slices.Backward(parts) {
		if p.container == "" {
			above := ""
			if i > 0 {
				above = parts[i-1]
			}
			p.container = containerID(part, above)
		}
		if p.pod == "" {
			p.pod = podUID(part)
		}
		if p.unit == "" {
			p.unit = unitName(part)
		}
	}
	if p.container != "" {
		// The unit around a container is the runtime's, not the service's.
		p.unit = ""
	}
	return p
}

// containerID finds the id in one part of a path:
// <id>, docker-<id>.scope, cri-containerd-<id>.scope, crio-<id>.scope, libpod-<id>.scope, <slice>:cri-containerd:<id>,
// <task>-<number> of ECS, and the uuid below mesos.
func containerID(part, above string) string {
	part = strings.TrimSuffix(strings.TrimSuffix(part, ".scope"), ".service")
	if strings.HasPrefix(part, "crio-conmon-") || strings.HasPrefix(part, "libpod-conmon-") {
		return "" // the monitor beside the container, not the container
	}
	if id := hexRun(part, 64); id != "" {
		return id
	}
	if strings.HasPrefix(part, "pod") || strings.Contains(part, "-pod") {
		return ""
	}
	if isUUID(part) && strings.HasPrefix(above, "mesos") {
		return part
	}
	if len(part) > 33 && part[32] == '-' && isHex(part[:32]) && isDigits(part[33:]) {
		return part
	}
	return ""
}

// hexRun returns the last run of exactly n lower-case hexadecimal digits in s.
func hexRun(s string, n int) string {
	end := len(s)
	for end >= n {
		i := end
		for i > 0 && isHex(s[i-1:i]) {
			i--
		}
		if end-i == n {
			return s[i:end]
		}
		end = i - 1
	}
	return ""
}

// podUID finds pod<uid> and kubepods-…-pod<uid with underscores>.slice.
func podUID(part string) string {
	part, _, _ = strings.Cut(part, ":")
	part = strings.TrimSuffix(part, ".slice")
	i := strings.LastIndex(part, "pod")
	if i < 0 {
		return ""
	}
	uid := strings.ReplaceAll(part[i+len("pod"):], "_", "-")
	if isUUID(uid) || len(uid) == 32 && isHex(uid) {
		return uid
	}
	return ""
}

// unitName returns the name of a systemd service, leaving out the session managers of users.
func unitName(part string) string {
	u, ok := strings.CutSuffix(part, ".service")
	if !ok || strings.HasPrefix(u, "user@") || strings.HasPrefix(u, "session-") {
		return ""
	}
	return u
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch i {
		case 8, 13, 18, 23:
			if s[i] != '-' {
				return false
			}
		default:
			if !isHex(s[i : i+1]) {
				return false
			}
		}
	}
	return true
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return s != ""
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
