package origin

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

var (
	idA = strings.Repeat("0123456789abcdef", 4)
	idB = strings.Repeat("fedcba9876543210", 4)
)

func TestParseCgroup(t *testing.T) {
	const uuid = "1c3b5d7f-0a2b-4c6d-8e0f-123456789abc"
	f := func(name, file string, want place) {
		t.Helper()
		if got := parseCgroup(file); got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
	f("docker v1", "12:pids:/docker/"+idA+"\n1:name=systemd:/docker/"+idA+"\n", place{container: idA})
	f("docker v2 systemd", "0::/system.slice/docker-"+idA+".scope\n", place{container: idA})
	f("docker v2 private namespace", "0::/../"+idA+"\n", place{container: idA})
	f("podman", "0::/machine.slice/libpod-"+idA+".scope/container\n", place{container: idA})
	f("podman monitor", "0::/machine.slice/libpod-conmon-"+idA+".scope\n", place{})
	f("kubernetes cgroupfs", "3:memory:/kubepods/burstable/pod"+uuid+"/"+idA+"\n", place{container: idA, pod: uuid})
	f("kubernetes systemd containerd", "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod"+strings.ReplaceAll(uuid, "-", "_")+
		".slice/cri-containerd-"+idA+".scope\n", place{container: idA, pod: uuid})
	f("kubernetes crio", "0::/kubepods.slice/kubepods-pod"+strings.ReplaceAll(uuid, "-", "_")+".slice/crio-"+idA+".scope\n", place{container: idA, pod: uuid})
	f("containerd colons", "1:cpu:/system.slice/containerd.service/kubepods-pod"+strings.ReplaceAll(uuid, "-", "_")+".slice:cri-containerd:"+idA+"\n",
		place{container: idA, pod: uuid})
	f("static pod", "0::/kubepods/pod0123456789abcdef0123456789abcdef/"+idA+"\n", place{container: idA, pod: "0123456789abcdef0123456789abcdef"})
	f("nested", "0::/docker/"+idA+"/docker/"+idB+"\n", place{container: idB})
	f("mesos", "5:cpu:/mesos/"+uuid+"\n", place{container: uuid})
	f("mesos nested", "5:cpu:/mesos/"+idA[:8]+"-0000-0000-0000-000000000000/mesos/"+uuid+"\n", place{container: uuid})
	f("ecs", "5:cpu:/ecs/"+idA[:32]+"/"+idA[:32]+"-1234567890\n", place{container: idA[:32] + "-1234567890"})
	f("unit", "0::/system.slice/nginx.service\n", place{unit: "nginx"})
	f("user session", "0::/user.slice/user-1000.slice/user@1000.service/app.slice\n", place{})
	f("pod without container", "0::/kubepods/pod"+uuid+"\n", place{pod: uuid})
	f("65 digits", "0::/docker/"+idA+"a\n", place{})
	f("v1 with an empty first line", "13:misc:/\n4:memory:/docker/"+idA+"\n", place{container: idA})
	f("root", "0::/\n", place{})
	f("rubbish", "::\n\n:x\nabc", place{})
}

func FuzzParseCgroup(f *testing.F) {
	f.Add("0::/system.slice/docker-" + idA + ".scope\n")
	f.Add("12:pids:/mesos/1c3b5d7f-0a2b-4c6d-8e0f-123456789abc\n")
	f.Fuzz(func(t *testing.T, s string) {
		if p := parseCgroup(s); p.container != "" && !strings.Contains(s, p.container) {
			t.Errorf("made up a container %q out of %q", p.container, s)
		}
	})
}

// pass lets time pass; in a synctest bubble that costs nothing.
func pass(d time.Duration) { <-time.After(d) }

type tree struct {
	t    *testing.T
	root string
}

func newTree(t *testing.T) tree { t.Helper(); return tree{t, t.TempDir()} }

func (tr tree) process(pid int, start uint64, comm, cgroup string) {
	tr.t.Helper()
	dir := filepath.Join(tr.root, "proc", fmt.Sprint(pid))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		tr.t.Fatal(err)
	}
	stat := fmt.Sprintf("%d (%s) S 1 %d %d 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 %d 0 0\n", pid, comm, pid, pid, start)
	for name, text := range map[string]string{"stat": stat, "comm": comm + "\n", "cgroup": cgroup} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			tr.t.Fatal(err)
		}
	}
}

func (tr tree) resolver(edit func(*Config)) *Resolver {
	cfg := DefaultConfig()
	cfg.Node, cfg.ProcRoot, cfg.CgroupRoot = "n1", filepath.Join(tr.root, "proc"), filepath.Join(tr.root, "cgroup")
	if edit != nil {
		edit(&cfg)
	}
	return New(cfg, metrics.NewSet())
}

func TestByPID(t *testing.T) {
	tr := newTree(t)
	tr.process(10, 100, "java", "0::/docker/"+idA+"\n")
	tr.process(11, 100, "nginx: worker) S", "0::/system.slice/web.service\n")
	tr.process(12, 100, "cron", "0::/\n")
	tr.process(13, 100, "java", "0::/docker/"+idB+"\n")
	r := tr.resolver(func(c *Config) { c.Services = map[string]string{idB[:12]: "orders", "cron": "jobs"} })
	f := func(pid int32, want Tags) {
		t.Helper()
		if got := r.ByPID(pid); got != want {
			t.Errorf("pid %d: got %+v, want %+v", pid, got, want)
		}
	}
	f(10, Tags{Node: "n1", Service: "java", Container: idA, Guess: true})
	f(11, Tags{Node: "n1", Service: "web", Guess: true})
	f(12, Tags{Node: "n1", Service: "jobs"})
	f(13, Tags{Node: "n1", Service: "orders", Container: idB})
	f(99, Tags{Node: "n1"})
	f(0, Tags{Node: "n1"})
	f(-1, Tags{Node: "n1"})
}

func TestPIDReuse(t *testing.T) {
	tr := newTree(t)
	synctest.Test(t, func(t *testing.T) {
		tr.process(10, 100, "old", "0::/docker/"+idA+"\n")
		r := tr.resolver(nil)
		if got := r.ByPID(10).Container; got != idA {
			t.Fatalf("container %q", got)
		}
		// The process ends; its last datagrams are still its own.
		if err := os.RemoveAll(filepath.Join(tr.root, "proc", "10")); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Second)
		if got := r.ByPID(10).Container; got != idA {
			t.Errorf("an ended process lost its origin: %q", got)
		}
		// Another process takes the id, long before the entry expires.
		tr.process(10, 200, "new", "0::/docker/"+idB+"\n")
		pass(2 * time.Second)
		if got := r.ByPID(10); got.Container != idB || got.Service != "new" {
			t.Errorf("a reused id kept its old origin: %+v", got)
		}
		// The same process moves into another cgroup: seen when the entry expires.
		tr.process(10, 200, "new", "0::/docker/"+idA+"\n")
		pass(2 * time.Minute)
		if got := r.ByPID(10).Container; got != idA {
			t.Errorf("an expired entry was kept: %q", got)
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	tr := newTree(t)
	r := tr.resolver(func(c *Config) { c.CacheSize = 3 })
	for pid := range 10 {
		tr.process(pid+1, 1, "p", "0::/docker/"+idA+"\n")
		r.ByPID(int32(pid + 1))
	}
	if len(r.pids.m) != 3 || r.pids.order.Len() != 3 {
		t.Errorf("%d entries in a cache of 3", len(r.pids.m))
	}
	if _, ok := r.pids.get(10); !ok {
		t.Error("the newest entry was forgotten")
	}
}

func TestByContainerField(t *testing.T) {
	tr := newTree(t)
	dir := filepath.Join(tr.root, "cgroup", "system.slice", "docker-"+idA+".scope")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	ino := info.Sys().(*syscall.Stat_t).Ino
	tr.process(10, 100, "java", "0::/docker/"+idB+"\n")
	r := tr.resolver(func(c *Config) { c.Services = map[string]string{idA: "orders"} })
	f := func(field string, want Tags) {
		t.Helper()
		if got := r.ByContainerField(field); got != want {
			t.Errorf("%q: got %+v, want %+v", field, got, want)
		}
	}
	f("ci-"+idA, Tags{Node: "n1", Service: "orders", Container: idA})
	f(idA, Tags{Node: "n1", Service: "orders", Container: idA})
	f(fmt.Sprintf("in-%d", ino), Tags{Node: "n1", Service: "orders", Container: idA})
	f("in-1", Tags{Node: "n1"})
	f("in-x", Tags{Node: "n1"})
	f("", Tags{Node: "n1"})
	f("ci-", Tags{Node: "n1"})
	f("ci-a b\n", Tags{Node: "n1"})
	f("ci-"+strings.Repeat("a", 200), Tags{Node: "n1"})
	f("ci-"+idB, Tags{Node: "n1", Container: idB})
	r.ByPID(10) // what a process taught about its container helps the field
	f("ci-"+idB, Tags{Node: "n1", Service: "java", Container: idB, Guess: true})
}

func TestOwnProcess(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("no /proc")
	}
	r := New(DefaultConfig(), metrics.NewSet())
	got := r.ByPID(int32(os.Getpid()))
	if got.Node == "" || got.Service == "" {
		t.Errorf("own process has origin %+v", got)
	}
}

func TestValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	f := func(edit func(*Config), want string) {
		t.Helper()
		c := DefaultConfig()
		edit(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want something about %q", err, want)
		}
	}
	f(func(c *Config) { c.ProcRoot = "" }, "proc_root")
	f(func(c *Config) { c.CacheSize = 0 }, "cache_size 0")
	f(func(c *Config) { c.CacheTTL = time.Millisecond }, "cache_ttl 1ms")
	f(func(c *Config) { c.Services = map[string]string{"a": ""} }, `"a"`)
}
