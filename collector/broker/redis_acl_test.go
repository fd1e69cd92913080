package broker

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/redis/go-redis/v9"
)

// recipeUsers are the commands of the recipe that make weir's users: of the data, and of the Sentinels.
func recipeUsers(t *testing.T, password string) [][]any {
	t.Helper()
	text, err := os.ReadFile("../../docs/recipes/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	var out [][]any
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "ACL SETUSER weir ") {
			continue
		}
		var args []any
		for f := range strings.FieldsSeq(line) {
			if f == ">…" {
				f = ">" + password
			}
			args = append(args, f)
		}
		out = append(out, args)
	}
	if len(out) != 2 {
		t.Fatalf("the recipe makes %d users, want 2", len(out))
	}
	return out
}

// The users that the recipe makes may do all that a poll asks, on a numbered database and behind a Sentinel with a password of its own.
func TestRedisUsersOfTheRecipe(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	port, sentinelPort := freePort(t), freePort(t)
	start(t, nil, "redis-server", "--bind", "127.0.0.1", "--port", fmt.Sprint(port), "--dir", t.TempDir(), "--save", "", "--appendonly", "no")
	conf := filepath.Join(dir, "sentinel.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, "bind 127.0.0.1\nport %d\ndir %s\nsentinel monitor main 127.0.0.1 %d 1\n", sentinelPort, dir, port), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, nil, "redis-server", conf, "--sentinel")
	addr, sentinel := fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("127.0.0.1:%d", sentinelPort)
	secrets := map[string]string{"data": "one", "sentinel": "two"}
	for name, s := range secrets {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(s+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for at, args := range map[string][]any{addr: recipeUsers(t, "one")[0], sentinel: recipeUsers(t, "two")[1]} {
		c := redis.NewClient(&redis.Options{Addr: at, DB: 0, DisableIdentity: true})
		t.Cleanup(func() { _ = c.Close() })
		eventually(t, 10*time.Second, func() error { return c.Do(ctx, args...).Err() })
	}
	data := redis.NewClient(&redis.Options{Addr: addr, DB: 1})
	t.Cleanup(func() { _ = data.Close() })
	for _, do := range [][]any{{"XADD", "orders", "*", "v", "x"}, {"XADD", "orders", "*", "v", "y"}, {"XGROUP", "CREATE", "orders", "enrich", "0"}, {"XREADGROUP", "GROUP", "enrich", "c", "COUNT", 1, "STREAMS", "orders", ">"}} {
		if err := data.Do(ctx, do...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for name, change := range map[string]func(*RedisConfig){
		"server": func(*RedisConfig) {},
		"sentinel": func(c *RedisConfig) {
			c.Addrs, c.Master, c.SentinelUser, c.SentinelPasswordFile = []string{sentinel}, "main", "weir", filepath.Join(dir, "sentinel")
		},
		"sentinel without a password": func(c *RedisConfig) { c.Addrs, c.Master = []string{sentinel}, "main" },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := RedisConfig{Addrs: []string{addr}, Cluster: "r", DB: 1, User: "weir", PasswordFile: filepath.Join(dir, "data")}.withDefaults()
			change(&cfg)
			if err := cfg.Validate(); err != nil {
				t.Fatal(err)
			}
			r := newRedis(cfg, metrics.NewSet(), slog.New(slog.DiscardHandler))
			if err := r.open(); err != nil {
				t.Fatal(err)
			}
			defer r.close()
			s, err := r.poll(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if len(s.partitions) != 1 || len(s.groups) != 1 || s.groups[0].unacked != 1 || s.groups[0].pending != 1 || s.groups[0].committedAt.IsZero() {
				t.Errorf("%+v", s)
			}
		})
	}
}
