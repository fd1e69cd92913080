package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/value"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/weirhq/weir/collector/signal"
)

const at = 1_700_000_100_000

// memory keeps the last batch: series as text → value; start times beside it.
type memory struct {
	t      *testing.T
	last   map[string]string
	starts map[string]int64
	fail   error
}

func (m *memory) Append(_ context.Context, k signal.Kind, items int, body []byte) error {
	if m.fail != nil {
		return m.fail
	}
	var req writev2.Request
	if err := req.Unmarshal(body); err != nil || k != signal.Samples {
		m.t.Errorf("cannot decode appended body of kind %v: %v", k, err)
	}
	m.last, m.starts = map[string]string{}, map[string]int64{}
	for _, ts := range req.Timeseries {
		var name string
		var ls []string
		for i := 0; i+1 < len(ts.LabelsRefs); i += 2 {
			k, v := req.Symbols[ts.LabelsRefs[i]], req.Symbols[ts.LabelsRefs[i+1]]
			switch k {
			case "__name__":
				name = strings.TrimPrefix(v, "weir_")
			case "node":
				if v != "n1" {
					m.t.Errorf("node %q", v)
				}
			default:
				ls = append(ls, k+"="+v)
			}
		}
		key := name + "{" + strings.Join(ls, ",") + "}"
		for _, s := range ts.Samples {
			items--
			if s.Timestamp != at {
				m.t.Errorf("%s at %d", key, s.Timestamp)
			}
			if _, twice := m.last[key]; twice {
				m.t.Errorf("%s twice", key)
			}
			m.last[key] = fmt.Sprint(s.Value)
			if value.IsStaleNaN(s.Value) {
				m.last[key] = "stale"
			}
			if s.StartTimestamp != 0 {
				m.starts[key] = s.StartTimestamp
			}
		}
	}
	if items != 0 {
		m.t.Errorf("items differ by %d from the body", items)
	}
	return nil
}

// tree writes files below a new folder.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		write(t, filepath.Join(root, name), text)
	}
	return root
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

type names struct{}

func (names) ByPID(pid int32) Tags {
	return Tags{Service: "other", Container: fmt.Sprint("c-of-", pid)}
}

func (names) ByContainerField(f string) Tags {
	return Tags{Service: "shop", Container: strings.TrimPrefix(f, "ci-")[:12]}
}

func newMonitor(t *testing.T, root string, change func(*Config)) (*Monitor, *memory, *metrics.Set) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.ProcRoot, cfg.CgroupRoot = filepath.Join(root, "proc"), filepath.Join(root, "cgroup")
	cfg.Node, cfg.Containers = false, false
	change(&cfg)
	out := &memory{t: t}
	set := metrics.NewSet()
	m, err := New(cfg, "n1", out, names{}, set, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return m, out, set
}

func want(t *testing.T, got, want map[string]string) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

var nodeFiles = map[string]string{
	"proc/stat": `cpu  1000 20 300 40000 50 6 7 8 0 0
cpu0 500 10 150 20000 25 3 4 4 0 0
cpu1 500 10 150 20000 25 3 3 4 0 0
intr 12345 0 0
btime 1700000000
processes 999
procs_running 3
procs_blocked 1
`,
	"proc/loadavg": "0.50 1.25 2.00 3/456 7890\n",
	"proc/meminfo": "MemTotal:       16384 kB\nMemFree:         1024 kB\nMemAvailable:    8192 kB\nBuffers:          100 kB\nCached:          2048 kB\nSwapTotal:       4096 kB\nSwapFree:        4000 kB\n",
	"proc/diskstats": `   7       0 loop0 1 0 2 0 0 0 0 0 0 0 0 0 0 0 0
   8       0 sda 100 5 2000 30 200 10 4000 60 0 1500 90 0 0 0 0
   8       1 sda1 90 5 1900 30 190 10 3900 60 0 1400 90 0 0 0 0
 259       0 nvme0n1 10 0 20 1 20 0 40 2 0 250 3 0 0 0 0
 259       1 nvme0n1p1 10 0 20 1 20 0 40 2 0 250 3 0 0 0 0
`,
	"proc/net/dev": `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 500 5 0 0 0 0 0 0 500 5 0 0 0 0 0 0
  eth0:1000 10 1 2 0 0 0 0 2000 20 3 4 0 0 0 0
`,
	"proc/pressure/cpu": "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
	"proc/pressure/io":  "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=500000\n",
}

func TestNode(t *testing.T) {
	m, out, set := newMonitor(t, tree(t, nodeFiles), func(c *Config) { c.Node = true })
	m.once(t.Context(), time.UnixMilli(at))
	want(t, out.last, map[string]string{
		"host_cpu_seconds_total{mode=user}": "10", "host_cpu_seconds_total{mode=nice}": "0.2", "host_cpu_seconds_total{mode=system}": "3",
		"host_cpu_seconds_total{mode=idle}": "400", "host_cpu_seconds_total{mode=iowait}": "0.5", "host_cpu_seconds_total{mode=irq}": "0.06",
		"host_cpu_seconds_total{mode=softirq}": "0.07", "host_cpu_seconds_total{mode=steal}": "0.08",
		"host_cpus{}": "2", "host_boot_time_seconds{}": "1.7e+09", "host_processes_running{}": "3", "host_processes_blocked{}": "1",
		"host_load{minutes=1}": "0.5", "host_load{minutes=5}": "1.25", "host_load{minutes=15}": "2",
		"host_memory_total_bytes{}": "1.6777216e+07", "host_memory_free_bytes{}": "1.048576e+06", "host_memory_available_bytes{}": "8.388608e+06",
		"host_memory_cached_bytes{}": "2.097152e+06", "host_swap_total_bytes{}": "4.194304e+06", "host_swap_free_bytes{}": "4.096e+06",
		"host_disk_reads_total{device=sda}": "100", "host_disk_read_bytes_total{device=sda}": "1.024e+06", "host_disk_writes_total{device=sda}": "200",
		"host_disk_written_bytes_total{device=sda}": "2.048e+06", "host_disk_io_seconds_total{device=sda}": "1.5",
		"host_disk_reads_total{device=nvme0n1}": "10", "host_disk_read_bytes_total{device=nvme0n1}": "10240", "host_disk_writes_total{device=nvme0n1}": "20",
		"host_disk_written_bytes_total{device=nvme0n1}": "20480", "host_disk_io_seconds_total{device=nvme0n1}": "0.25",
		"host_network_receive_bytes_total{device=eth0}": "1000", "host_network_receive_errors_total{device=eth0}": "1", "host_network_receive_drops_total{device=eth0}": "2",
		"host_network_transmit_bytes_total{device=eth0}": "2000", "host_network_transmit_errors_total{device=eth0}": "3", "host_network_transmit_drops_total{device=eth0}": "4",
		"host_pressure_waiting_seconds_total{resource=cpu}": "2.5", "host_pressure_stalled_seconds_total{resource=cpu}": "0",
		"host_pressure_waiting_seconds_total{resource=io}": "1", "host_pressure_stalled_seconds_total{resource=io}": "0.5",
	})
	if got := out.starts["host_cpu_seconds_total{mode=user}"]; got != 1_700_000_000_000 {
		t.Errorf("start of a counter = %d, want the boot time", got)
	}
	if got := out.starts["host_load{minutes=1}"]; got != 0 {
		t.Errorf("a gauge has a start time %d", got)
	}
	out.fail = errors.New("disk full")
	m.once(t.Context(), time.UnixMilli(at))
	r, a := set.GetOrCreateCounter(`weir_collector_received_total{door="host"}`).Get(), set.GetOrCreateCounter(`weir_collector_accepted_total{door="host"}`).Get()
	d := set.GetOrCreateCounter(`weir_collector_dropped_total{door="host",reason="spool"}`).Get()
	if r != a+d || a == 0 || a != d {
		t.Errorf("received %d, accepted %d, dropped %d", r, a, d)
	}
}

var (
	id1 = strings.Repeat("a1", 32)
	id2 = strings.Repeat("b2", 32)
	id3 = strings.Repeat("c3", 32)
)

func v2Files() map[string]string {
	c := "cgroup/system.slice/docker-" + id1 + ".scope/"
	return map[string]string{
		"cgroup/cgroup.controllers": "cpu io memory pids\n",
		"cgroup/cpu.stat":           "usage_usec 1\n",
		c + "cpu.stat":              "usage_usec 2500000\nuser_usec 1\nsystem_usec 1\nnr_periods 100\nnr_throttled 10\nthrottled_usec 1500000\n",
		c + "cpu.max":               "150000 100000\n",
		c + "memory.current":        "1000000\n",
		c + "memory.stat":           "anon 600000\nfile 400000\ninactive_file 250000\n",
		c + "memory.max":            "2000000\n",
		c + "memory.events":         "low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\n",
		c + "pids.current":          "12\n",
		c + "pids.max":              "max\n",
		c + "cpu.pressure":          "some avg10=0.00 avg60=0.00 avg300=0.00 total=3000000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n",
		c + "init.scope/cpu.stat":   "usage_usec 5\n",
		"cgroup/kubepods.slice/kubepods-burstable.slice/kubepods-pod1.slice/cri-containerd-" + id2 + ".scope/cpu.stat":   "usage_usec 1000000\nnr_periods 0\nnr_throttled 0\nthrottled_usec 0\n",
		"cgroup/kubepods.slice/kubepods-burstable.slice/kubepods-pod1.slice/cri-containerd-" + id2 + ".scope/cpu.max":    "max 100000\n",
		"cgroup/kubepods.slice/kubepods-burstable.slice/kubepods-pod1.slice/cri-containerd-" + id2 + ".scope/memory.max": "max\n",
		"cgroup/machine.slice/libpod-conmon-" + id3 + ".scope/cpu.stat":                                                  "usage_usec 9\n",
		"cgroup/machine.slice/libpod-" + id3[:40] + ".scope/cpu.stat":                                                    "usage_usec 9\n",
	}
}

func container(id string, figures map[string]string) map[string]string {
	m := map[string]string{}
	for name, v := range figures {
		name, extra, ok := strings.Cut(name, " ")
		key := "container_" + name + "{container=" + id[:12] + ",service=shop}"
		if ok {
			key = "container_" + name + "{container=" + id[:12] + "," + extra + ",service=shop}"
		}
		m[key] = v
	}
	return m
}

func TestContainersV2(t *testing.T) {
	root := tree(t, v2Files())
	m, out, _ := newMonitor(t, root, func(c *Config) { c.Containers = true })
	m.once(t.Context(), time.UnixMilli(at))
	expected := container(id1, map[string]string{
		"cpu_usage_seconds_total": "2.5", "cpu_periods_total": "100", "cpu_throttled_periods_total": "10", "cpu_throttled_seconds_total": "1.5", "cpu_limit_cores": "1.5",
		"memory_usage_bytes": "1e+06", "memory_working_set_bytes": "750000", "memory_rss_bytes": "600000", "memory_limit_bytes": "2e+06",
		"memory_limit_hits_total": "7", "memory_oom_total": "2", "memory_oom_kills_total": "1", "pids": "12",
		"pressure_waiting_seconds_total resource=cpu": "3", "pressure_stalled_seconds_total resource=cpu": "1",
	})
	maps.Copy(expected, container(id2, map[string]string{"cpu_usage_seconds_total": "1", "cpu_periods_total": "0", "cpu_throttled_periods_total": "0", "cpu_throttled_seconds_total": "0"}))
	want(t, out.last, expected)

	// Its limit is taken away, then the container ends.
	dir := filepath.Join(root, "cgroup/system.slice/docker-"+id1+".scope")
	write(t, filepath.Join(dir, "cpu.max"), "max 100000\n")
	m.once(t.Context(), time.UnixMilli(at))
	if got := out.last["container_cpu_limit_cores{container="+id1[:12]+",service=shop}"]; got != "stale" {
		t.Errorf("limit = %q, want stale", got)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	m.groups.looked = time.Time{}
	m.once(t.Context(), time.UnixMilli(at))
	stale := 0
	for k, v := range out.last {
		if strings.Contains(k, id1[:12]) {
			stale++
			if v != "stale" {
				t.Errorf("%s = %s after the container ended", k, v)
			}
		}
	}
	if stale != 14 {
		t.Errorf("%d series ended, want 14", stale)
	}
	m.once(t.Context(), time.UnixMilli(at))
	if len(out.last) != 4 {
		t.Errorf("%d series left, want the 4 of the other container", len(out.last))
	}
}

func TestContainersV1(t *testing.T) {
	p := "docker/" + id1 + "/"
	root := tree(t, map[string]string{
		"cgroup/cpu,cpuacct/" + p + "cpuacct.usage":       "2500000000\n",
		"cgroup/cpu,cpuacct/" + p + "cpu.stat":            "nr_periods 100\nnr_throttled 10\nthrottled_time 1500000000\n",
		"cgroup/cpu,cpuacct/" + p + "cpu.cfs_quota_us":    "50000\n",
		"cgroup/cpu,cpuacct/" + p + "cpu.cfs_period_us":   "100000\n",
		"cgroup/memory/" + p + "memory.usage_in_bytes":    "1000000\n",
		"cgroup/memory/" + p + "memory.stat":              "rss 1\ntotal_rss 600000\ntotal_inactive_file 250000\n",
		"cgroup/memory/" + p + "memory.limit_in_bytes":    "9223372036854771712\n",
		"cgroup/memory/" + p + "memory.failcnt":           "3\n",
		"cgroup/memory/" + p + "memory.oom_control":       "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
		"cgroup/pids/" + p + "pids.current":               "4\n",
		"cgroup/pids/" + p + "pids.max":                   "100\n",
		"cgroup/memory/docker/memory.usage_in_bytes":      "5\n",
		"cgroup/unified/cgroup.procs":                     "",
		"cgroup/memory/" + p + "nested/memory.failcnt":    "9\n",
		"cgroup/memory/system.slice/ssh.service/pids.max": "9\n",
	})
	m, out, _ := newMonitor(t, root, func(c *Config) { c.Containers = true })
	m.once(t.Context(), time.UnixMilli(at))
	want(t, out.last, container(id1, map[string]string{
		"cpu_usage_seconds_total": "2.5", "cpu_periods_total": "100", "cpu_throttled_periods_total": "10", "cpu_throttled_seconds_total": "1.5", "cpu_limit_cores": "0.5",
		"memory_usage_bytes": "1e+06", "memory_working_set_bytes": "750000", "memory_rss_bytes": "600000", "memory_limit_hits_total": "3", "memory_oom_kills_total": "1",
		"pids": "4", "pids_limit": "100",
	}))
}

func TestMaxContainers(t *testing.T) {
	m, out, set := newMonitor(t, tree(t, v2Files()), func(c *Config) { c.Containers, c.MaxContainers = true, 1 })
	m.once(t.Context(), time.UnixMilli(at))
	seen := map[string]bool{}
	for k := range out.last {
		_, rest, _ := strings.Cut(k, "container=")
		seen[rest[:12]] = true
	}
	if len(seen) != 1 || set.GetOrCreateCounter(`weir_host_skipped_total{what="containers"}`).Get() != 1 {
		t.Errorf("containers %v, want one, and one skipped", seen)
	}
}

func stat(pid int, comm string, utime, start int) string {
	return fmt.Sprintf("%d (%s) S 1 1 1 0 -1 4194560 100 0 0 0 %d 50 0 0 20 0 7 0 %d 1000000 25 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0\n", pid, comm, utime, start)
}

func TestProcesses(t *testing.T) {
	files := map[string]string{
		"proc/stat":        "btime 1700000000\n",
		"proc/100/stat":    stat(100, "odd) (name", 250, 5000),
		"proc/100/comm":    "odd) (name\n",
		"proc/100/cmdline": "",
		"proc/200/stat":    stat(200, "stage", 150, 6000),
		"proc/200/comm":    "stage\n",
		"proc/200/cmdline": "/bin/stage\x00--name\x00enrich\x00",
		"proc/300/stat":    stat(300, "stage", 950, 7000),
		"proc/300/comm":    "stage\n",
		"proc/300/cmdline": "/bin/stage\x00--name\x00sink\x00",
		"proc/400/stat":    stat(400, "other", 1, 1),
		"proc/400/comm":    "other\n",
		"proc/self/stat":   stat(1, "x", 1, 1),
		"run/x.pid":        "100\n",
	}
	root := tree(t, files)
	m, out, _ := newMonitor(t, root, func(c *Config) {
		c.Processes = []ProcessConfig{
			{Service: "file", PIDFile: root + "/run/x.pid"},
			{Service: "enrich", Cmdline: `--name enrich\b`},
			{Service: "rest", Comm: "st*"},
			{Service: "gone", PID: 9999},
		}
	})
	m.processes.page = 4096
	m.once(t.Context(), time.UnixMilli(at))
	expected := map[string]string{}
	for _, p := range []struct{ service, pid, cpu, start string }{
		{"file", "100", "3", "1.70000005e+09"}, {"enrich", "200", "2", "1.70000006e+09"}, {"rest", "300", "10", "1.70000007e+09"},
	} {
		ls := "{container=c-of-" + p.pid + ",pid=" + p.pid + ",service=" + p.service + "}"
		expected["process_cpu_seconds_total"+ls] = p.cpu
		expected["process_resident_memory_bytes"+ls] = "102400"
		expected["process_threads"+ls] = "7"
		expected["process_start_time_seconds"+ls] = p.start
	}
	want(t, out.last, expected)
	if got := out.starts["process_cpu_seconds_total{container=c-of-200,pid=200,service=enrich}"]; got != 1_700_000_060_000 {
		t.Errorf("start = %d", got)
	}
}

// An id that is used again is the same series with a new start, so that its counter is not taken to have fallen.
func TestProcessIDUsedAgain(t *testing.T) {
	root := tree(t, map[string]string{"proc/stat": "btime 1700000000\n", "proc/7/stat": stat(7, "a", 100, 1000)})
	m, out, _ := newMonitor(t, root, func(c *Config) { c.Processes = []ProcessConfig{{Service: "s", PID: 7}} })
	const series = "process_cpu_seconds_total{container=c-of-7,pid=7,service=s}"
	for _, start := range []int{1000, 2000} {
		write(t, root+"/proc/7/stat", stat(7, "a", 100, start))
		m.once(t.Context(), time.UnixMilli(at))
		if got := out.starts[series]; got != 1_700_000_000_000+int64(start)*10 || out.last[series] != "1.5" {
			t.Errorf("start %d, value %s", got, out.last[series])
		}
	}
}

// TestThisMachine reads the real /proc: what is there must be plausible.
func TestThisMachine(t *testing.T) {
	if _, err := os.Stat("/proc/stat"); err != nil {
		t.Skip("no /proc")
	}
	cfg := DefaultConfig()
	cfg.Processes = []ProcessConfig{{Service: "test", PID: int32(os.Getpid())}}
	got := &values{}
	m, err := New(cfg, "n1", got, nil, metrics.NewSet(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	m.once(t.Context(), time.Now())
	for name, ok := range map[string]func(float64) bool{
		"weir_host_memory_total_bytes":          func(v float64) bool { return v > 1<<24 },
		"weir_host_cpus":                        func(v float64) bool { return v >= 1 },
		"weir_process_resident_memory_bytes":    func(v float64) bool { return v > 1<<20 && v < 1<<33 },
		"weir_process_start_time_seconds":       func(v float64) bool { d := float64(time.Now().Unix()) - v; return d > -5 && d < 600 },
		"weir_process_threads":                  func(v float64) bool { return v >= 1 },
		"weir_host_network_receive_bytes_total": func(v float64) bool { return v >= -1 },
	} {
		if v, there := got.m[name]; there && !ok(v) || !there && !strings.Contains(name, "network") {
			t.Errorf("%s = %v (there: %v)", name, v, there)
		}
	}
}

type values struct{ m map[string]float64 }

func (o *values) Append(_ context.Context, _ signal.Kind, _ int, body []byte) error {
	var req writev2.Request
	if err := req.Unmarshal(body); err != nil {
		return err
	}
	o.m = map[string]float64{}
	for _, ts := range req.Timeseries {
		o.m[req.Symbols[ts.LabelsRefs[1]]] = ts.Samples[0].Value
	}
	return nil
}

func TestRunStops(t *testing.T) {
	m, _, _ := newMonitor(t, tree(t, nodeFiles), func(c *Config) { c.Node = true })
	m.out = &values{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("Run does not return")
	}
}

func TestValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Interval = time.Millisecond }, "interval 1ms"},
		{func(c *Config) { c.ProcRoot = "" }, "proc_root"},
		{func(c *Config) { c.MaxContainers = 0 }, "max_containers 0"},
		{func(c *Config) { c.IgnoreDevices = []string{"["} }, `pattern "["`},
		{func(c *Config) { c.Processes = []ProcessConfig{{PID: 1}} }, "service is empty"},
		{func(c *Config) { c.Processes = []ProcessConfig{{Service: "s"}} }, "exactly one"},
		{func(c *Config) { c.Processes = []ProcessConfig{{Service: "s", PID: 1, Comm: "x"}} }, "exactly one"},
		{func(c *Config) { c.Processes = []ProcessConfig{{Service: "s", Cmdline: "("}} }, `cmdline expression "("`},
	} {
		cfg := DefaultConfig()
		c.change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error = %v, want %q", err, c.want)
		}
	}
}

func FuzzProcessStat(f *testing.F) {
	f.Add([]byte(stat(1, "x", 2, 3)))
	f.Add([]byte("1 (a) Z"))
	f.Fuzz(func(_ *testing.T, b []byte) { parseProcessStat(b) })
}
