package broker

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

func writeFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestKafkaSASL(t *testing.T) {
	for mech, name := range map[string]string{SASLPlain: "PLAIN", SASLScram256: "SCRAM-SHA-256", SASLScram512: "SCRAM-SHA-512"} {
		t.Run(mech, func(t *testing.T) {
			file := writeFile(t, t.TempDir(), "password", "wrong-hunter2\n")
			b := newKafkaBench(t, func(c *KafkaConfig) {
				c.SASL, c.User, c.PasswordFile, c.Timeout = mech, "weir", file, 5*time.Second
			}, kfake.EnableSASL(), kfake.Superuser(name, "weir", "hunter2"), kfake.SeedTopics(1, "t"))
			if got := up(b.poll()); got != 0 {
				t.Errorf("up = %v with a wrong password", got)
			}
			// Corrected while it runs: read again at the next connection.
			writeFile(t, filepath.Dir(file), "password", "hunter2\n")
			poll := b.poll()
			if up(poll) != 1 || on(poll, "t", "0", "")["end_offset"] != 0 || len(on(poll, "t", "0", "")) == 0 {
				t.Errorf("poll = %v after the password was corrected:\n%s", poll, b.log)
			}
			if strings.Contains(b.log.String(), "hunter2") {
				t.Errorf("the log shows the password:\n%s", b.log)
			}
		})
	}
}

func TestKafkaTLS(t *testing.T) {
	dir := t.TempDir()
	ca, caFile := certificate(t, dir, "ca", nil)
	srv, _ := certificate(t, dir, "broker.example.org", &ca)
	client, clientFile := certificate(t, dir, "client", &ca)
	_ = client
	pool := x509.NewCertPool()
	pool.AddCert(ca.Leaf)
	serve := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{srv}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	whole := func(c *KafkaConfig) {
		c.CAFile, c.CertFile, c.KeyFile, c.ServerName, c.Timeout = caFile, clientFile, strings.TrimSuffix(clientFile, ".pem")+".key", "broker.example.org", 3*time.Second
	}
	for _, c := range []struct {
		name   string
		change func(*KafkaConfig)
		up     float64
		says   string
	}{
		{"all is right", func(*KafkaConfig) {}, 1, ""},
		{"another name", func(c *KafkaConfig) { c.ServerName = "elsewhere.example.org" }, 0, "elsewhere.example.org"},
		{"no client certificate", func(c *KafkaConfig) { c.CertFile, c.KeyFile = "", "" }, 0, ""},
		{"unknown authority", func(c *KafkaConfig) { c.CAFile, c.TLS = "", true }, 0, "unknown authority"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newKafkaBench(t, func(k *KafkaConfig) { whole(k); c.change(k) }, kfake.NumBrokers(1), kfake.TLS(serve), kfake.SeedTopics(1, "t"))
			if got := up(b.poll()); got != c.up {
				t.Errorf("up = %v, want %v:\n%s", got, c.up, b.log)
			}
			if !strings.Contains(b.log.String(), c.says) {
				t.Errorf("the log does not say %q:\n%s", c.says, b.log)
			}
		})
	}
}

// certificate makes one, signed by an authority or by itself, and writes it and its key.
func certificate(t *testing.T, dir, name string, by *tls.Certificate) (cert tls.Certificate, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: by == nil, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	parent, signer := c, any(key)
	if by != nil {
		parent, signer = by.Leaf, by.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	kder, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pc, pk := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: kder})
	file = writeFile(t, dir, name+".pem", string(pc))
	writeFile(t, dir, name+".key", string(pk))
	if cert, err = tls.X509KeyPair(pc, pk); err != nil {
		t.Fatal(err)
	}
	return cert, file
}

// docs/recipes/kafka.md names the rights; with less, what may not be seen is left out, counted, and named once.
func TestKafkaRights(t *testing.T) {
	allow := func(r kmsg.ACLResourceType, name string, op kmsg.ACLOperation) kfake.ACL {
		return kfake.ACL{Resource: r, Name: name, Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: op, Allow: true}
	}
	password := writeFile(t, t.TempDir(), "password", "hunter2")
	b := newKafkaBench(t, func(c *KafkaConfig) { c.SASL, c.User, c.PasswordFile = SASLScram256, "weir", password },
		kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("SCRAM-SHA-256", "admin", "admin"),
		kfake.User("SCRAM-SHA-256", "weir", "hunter2",
			allow(kmsg.ACLResourceTypeCluster, "kafka-cluster", kmsg.ACLOperationDescribe),
			allow(kmsg.ACLResourceTypeTopic, "all", kmsg.ACLOperationDescribe), allow(kmsg.ACLResourceTypeTopic, "all", kmsg.ACLOperationDescribeConfigs),
			allow(kmsg.ACLResourceTypeTopic, "all", kmsg.ACLOperationRead), allow(kmsg.ACLResourceTypeTopic, "ends", kmsg.ACLOperationDescribe),
			allow(kmsg.ACLResourceTypeGroup, "seen", kmsg.ACLOperationDescribe)))
	b.cl = b.client(kgo.SASL(scram.Auth{User: "admin", Pass: "admin"}.AsSha256Mechanism()))
	b.adm = kadm.NewClient(b.cl)
	for _, name := range []string{"all", "ends", "none"} {
		b.topic(name, 1, map[string]string{"retention.ms": "60000"})
		b.produce(name, 0, 0, 5)
		b.commit("seen", name, 2)
		b.commit("unseen", name, 2)
	}
	for range 2 {
		poll := b.poll()
		if up(poll) != 1 {
			t.Fatalf("up = %v:\n%s", up(poll), b.log)
		}
		if _, part := single(poll, "partial"); part {
			t.Errorf("a missing right is no trouble of the broker:\n%s", b.log)
		}
		all, ends := on(poll, "all", "0", ""), on(poll, "ends", "0", "")
		if all["end_offset"] != 5 || all["retention_seconds"] != 60 || ends["end_offset"] != 5 {
			t.Errorf("all = %v, ends = %v", all, ends)
		}
		if _, ok := ends["retention_seconds"]; ok {
			t.Error("retention is told without the right to read it")
		}
		want(t, "all rights", on(poll, "all", "0", "seen"), map[string]float64{"committed_offset": 2, "committed_timestamp_seconds": float64(stampOf(2).Unix())})
		want(t, "without Read", on(poll, "ends", "0", "seen"), map[string]float64{"committed_offset": 2})
		for _, s := range poll {
			if s.labels["destination"] == "none" || s.labels["group"] == "unseen" {
				t.Errorf("%s %v may not be seen", s.name, s.labels)
			}
		}
	}
	if b.skipped("denied") == 0 {
		t.Error("nothing is counted as denied")
	}
	for _, what := range []string{`what="settings of topic" name=ends`, `what="records of topic" name=ends`} {
		if n := strings.Count(b.log.String(), what); n != 1 {
			t.Errorf("the log says %q %d times, want once:\n%s", what, n, b.log)
		}
	}
}

func TestKafkaAWSKeys(t *testing.T) {
	dir := t.TempDir()
	file := writeFile(t, dir, "credentials", "[default]\naws_access_key_id = A\naws_secret_access_key = S\n\n[other]\naws_access_key_id=B\naws_secret_access_key=T\naws_session_token=X\n")
	c := KafkaConfig{SASL: SASLAWSMSKIAM, TLS: true, AWSCredentialsFile: file}
	if a, err := c.awsKeys(); err != nil || a.AccessKey != "A" || a.SecretKey != "S" || a.SessionToken != "" {
		t.Errorf("default: %v, %v", a.AccessKey, err)
	}
	c.AWSProfile = "other"
	if a, err := c.awsKeys(); err != nil || a.AccessKey != "B" || a.SessionToken != "X" {
		t.Errorf("other: %v, %v", a.AccessKey, err)
	}
	c.AWSProfile = "none"
	if _, err := c.awsKeys(); err == nil || !strings.Contains(err.Error(), "aws_profile") {
		t.Errorf("none: %v", err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	if _, err := (KafkaConfig{}).awsKeys(); err == nil || !strings.Contains(err.Error(), "AWS_ACCESS_KEY_ID") {
		t.Errorf("no keys: %v", err)
	}
	if m, err := c.mechanism(); m != nil || err == nil {
		t.Errorf("mechanism without keys: %v, %v", m, err)
	}
}

func TestKafkaValidate(t *testing.T) {
	ok := DefaultKafkaConfig()
	if err := ok.Validate(); err != nil {
		t.Errorf("default: %v", err)
	}
	for _, c := range []struct {
		change func(*KafkaConfig)
		want   string
	}{
		{func(c *KafkaConfig) { c.Brokers = nil }, "brokers is empty"},
		{func(c *KafkaConfig) { c.Brokers = []string{"kafka"} }, `cannot read broker "kafka"`},
		{func(c *KafkaConfig) { c.Brokers = []string{"kafka:99999"} }, `cannot read broker "kafka:99999"`},
		{func(c *KafkaConfig) { c.Brokers = []string{"u:hunter2@kafka:9092"} }, "carries a secret"},
		{func(c *KafkaConfig) { c.Cluster = "" }, "cluster is empty"},
		{func(c *KafkaConfig) { c.Interval = time.Millisecond }, "interval 1ms is too short"},
		{func(c *KafkaConfig) { c.Timeout = time.Millisecond }, "timeout 1ms is too short"},
		{func(c *KafkaConfig) { c.Owner = "me" }, `owner "me" is unknown`},
		{func(c *KafkaConfig) { c.Groups = []string{"["} }, `pattern "["`},
		{func(c *KafkaConfig) { c.MaxGroups = -1 }, "must be positive"},
		{func(c *KafkaConfig) { c.RecordReads = -2 }, "record_reads -2"},
		{func(c *KafkaConfig) { c.SASL = "kerberos" }, `sasl "kerberos" is unknown`},
		{func(c *KafkaConfig) { c.SASL = SASLPlain }, "needs user and password_file"},
		{func(c *KafkaConfig) { c.SASL = SASLOAuth }, "needs token_file"},
		{func(c *KafkaConfig) { c.SASL = SASLAWSMSKIAM }, "needs tls: true"},
		{func(c *KafkaConfig) { c.User = "me" }, "sasl is empty"},
		{func(c *KafkaConfig) {
			c.SASL, c.User, c.PasswordFile, c.PasswordEnv = SASLPlain, "me", "a", "B"
		}, "both set"},
		{func(c *KafkaConfig) { c.CertFile = "c" }, "belong together"},
		{func(c *KafkaConfig) { c.ServerName = "c" }, "without tls"},
	} {
		cfg := DefaultKafkaConfig()
		c.change(&cfg)
		err := cfg.Validate()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error = %v, want %q", err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Error("the error shows the password")
		}
	}
	if err := (Config{Kafka: []KafkaConfig{ok, ok}}).Validate(); err == nil || !strings.Contains(err.Error(), "already used") {
		t.Errorf("two clusters of one name: %v", err)
	}
	// Files that are not there are told at the first connection, in words.
	missing := ok
	missing.CAFile = "/nowhere/ca.pem"
	if _, err := missing.options(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no ca_file: %v", err)
	}
}
