//go:build systems

package broker

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// oneLine is a PEM as a Java properties file takes it.
func oneLine(p []byte) string { return strings.ReplaceAll(strings.TrimSpace(string(p)), "\n", "\\n") }

// Every way in that a real Kafka has by itself: the four mechanisms over TLS, and a certificate of the client. The token is
// one without a signature, which Kafka's own validator takes when nothing else is configured.
func TestSystemKafkaWaysIn(t *testing.T) {
	dir := t.TempDir()
	ca, caFile := certificate(t, dir, "ca", nil)
	srv, srvFile := certificate(t, dir, "broker.example.org", &ca)
	_, clientFile := certificate(t, dir, "client", &ca)
	key, err := x509.MarshalPKCS8PrivateKey(srv.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := os.ReadFile(srvFile)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := os.ReadFile(caFile)
	if err != nil {
		t.Fatal(err)
	}
	secure, mutual := freePort(t), freePort(t)
	const org = "org.apache.kafka.common.security."
	addr := startKafkaWith(t, fmt.Sprintf(",SECURE://127.0.0.1:%d,MUTUAL://127.0.0.1:%d", secure, mutual), strings.Join([]string{
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL,MUTUAL:SSL",
		"inter.broker.listener.name=PLAINTEXT",
		"ssl.keystore.type=PEM", "ssl.truststore.type=PEM",
		"ssl.keystore.certificate.chain=" + oneLine(chain),
		"ssl.keystore.key=" + oneLine(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
		"ssl.truststore.certificates=" + oneLine(authority),
		"listener.name.mutual.ssl.client.auth=required",
		"listener.name.secure.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
		`listener.name.secure.plain.sasl.jaas.config=` + org + `plain.PlainLoginModule required user_weir="hunter2";`,
		"listener.name.secure.scram-sha-256.sasl.jaas.config=" + org + "scram.ScramLoginModule required;",
		"listener.name.secure.scram-sha-512.sasl.jaas.config=" + org + "scram.ScramLoginModule required;",
		`listener.name.secure.oauthbearer.sasl.jaas.config=` + org + `oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="admin";`,
		"",
	}, "\n"), "--add-scram", "SCRAM-SHA-256=[name=weir,password=hunter2]", "--add-scram", "SCRAM-SHA-512=[name=weir,password=hunter2]")

	c, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	eventually(t, 60*time.Second, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := kadm.NewClient(c).CreateTopic(ctx, 1, 1, nil, "t")
		return err
	})
	if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Value: []byte("x")}).FirstErr(); err != nil {
		t.Fatal(err)
	}

	b64 := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	token := func(until time.Time) string {
		return b64(`{"alg":"none"}`) + "." + b64(fmt.Sprintf(`{"sub":"weir","iat":%d,"exp":%d}`, time.Now().Unix(), until.Unix())) + "."
	}
	password := func(mech string) func(c *KafkaConfig, good bool) {
		return func(c *KafkaConfig, good bool) {
			text := "hunter2"
			if !good {
				text = "hunter3"
			}
			c.SASL, c.User, c.PasswordFile = mech, "weir", writeFile(t, t.TempDir(), "password", text)
		}
	}
	for name, way := range map[string]func(c *KafkaConfig, good bool){
		SASLPlain: password(SASLPlain), SASLScram256: password(SASLScram256), SASLScram512: password(SASLScram512),
		SASLOAuth: func(c *KafkaConfig, good bool) {
			until := time.Now().Add(time.Hour)
			if !good {
				until = time.Now().Add(-time.Hour)
			}
			c.SASL, c.TokenFile = SASLOAuth, writeFile(t, t.TempDir(), "token", token(until)+"\n")
		},
		"certificate": func(c *KafkaConfig, good bool) {
			c.Brokers = []string{fmt.Sprintf("127.0.0.1:%d", mutual)}
			if good {
				c.CertFile, c.KeyFile = clientFile, strings.TrimSuffix(clientFile, filepath.Ext(clientFile))+".key"
			}
		},
	} {
		for _, good := range []bool{true, false} {
			t.Run(fmt.Sprint(name, " ", good), func(t *testing.T) {
				cfg := KafkaConfig{Brokers: []string{fmt.Sprintf("127.0.0.1:%d", secure)}, Cluster: "k", CAFile: caFile, ServerName: "broker.example.org", Timeout: 5 * time.Second}
				way(&cfg, good)
				cfg = cfg.withDefaults()
				if err := cfg.Validate(); err != nil {
					t.Fatal(err)
				}
				k := newKafka(cfg, metrics.NewSet(), slog.New(slog.DiscardHandler))
				if err := k.open(); err != nil {
					t.Fatal(err)
				}
				defer k.close()
				s, err := k.poll(t.Context())
				if !good {
					if err == nil {
						t.Fatal("polled with a secret that is wrong")
					}
					if strings.Contains(err.Error(), "hunter") || strings.Contains(err.Error(), b64(`{"alg":"none"}`)) {
						t.Errorf("the error shows the secret: %v", err)
					}
					if cfg.SASL == SASLOAuth && !strings.Contains(err.Error(), "invalid_token") {
						t.Errorf("the error does not tell why: %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if len(s.partitions) != 1 || s.partitions[0].end != 1 {
					t.Errorf("partitions %+v", s.partitions)
				}
			})
		}
	}
}
