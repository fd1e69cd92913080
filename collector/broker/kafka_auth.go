package broker

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/aws"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// kafkaDial bounds how long one broker may take to be reached: the others' answers wait for it.
const kafkaDial = 3 * time.Second

// options are those of the client. Passwords, tokens and certificates are read again at each connection.
func (c KafkaConfig) options() ([]kgo.Opt, error) {
	dial, err := c.dialer()
	if err != nil {
		return nil, err
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID("weir-collector"),
		kgo.Dialer(dial),
		kgo.ConnIdleTimeout(2*c.Interval + time.Minute),
		kgo.RequestRetries(3),
		kgo.RetryTimeout(min(c.Timeout/2, 5*time.Second)),
		kgo.RetryBackoffFn(func(n int) time.Duration { return min(100*time.Millisecond<<min(n, 4), time.Second) }),
		kgo.RequestTimeoutOverhead(max(c.Timeout/2, time.Second)),
		kgo.BrokerMaxReadBytes(256 << 20),
		kgo.DisableClientMetrics(),
	}
	mech, err := c.mechanism()
	if err != nil {
		return nil, err
	}
	if mech != nil {
		opts = append(opts, kgo.SASL(mech))
	}
	return opts, nil
}

func (c KafkaConfig) dialer() (func(ctx context.Context, network, host string) (net.Conn, error), error) {
	d := &net.Dialer{Timeout: kafkaDial, KeepAlive: 30 * time.Second}
	if !c.encrypted() {
		return d.DialContext, nil
	}
	if _, err := c.tls(); err != nil {
		return nil, err
	}
	return func(ctx context.Context, network, host string) (net.Conn, error) {
		t, err := c.tls()
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, 2*kafkaDial)
		defer cancel()
		return (&tls.Dialer{NetDialer: d, Config: t}).DialContext(ctx, network, host)
	}, nil
}

func (c KafkaConfig) tls() (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("cannot read ca_file: %w", err)
		}
		if t.RootCAs, err = x509.SystemCertPool(); err != nil {
			t.RootCAs = x509.NewCertPool()
		}
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("cannot use ca_file %q: it holds no PEM certificate", c.CAFile)
		}
	}
	if c.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("cannot use cert_file %q and key_file %q: %w", c.CertFile, c.KeyFile, err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}

// mechanism is nil when nobody asks who we are. That the secret can be read is found out at once, its text is read when it is needed.
func (c KafkaConfig) mechanism() (sasl.Mechanism, error) {
	switch c.SASL {
	case SASLPlain, SASLScram256, SASLScram512:
		read := func() (string, error) { return secret("password", c.PasswordFile, c.PasswordEnv) }
		if _, err := read(); err != nil {
			return nil, err
		}
		if c.SASL == SASLPlain {
			return plain.Plain(func(context.Context) (plain.Auth, error) {
				p, err := read()
				return plain.Auth{User: c.User, Pass: p}, err
			}), nil
		}
		auth := func(context.Context) (scram.Auth, error) {
			p, err := read()
			return scram.Auth{User: c.User, Pass: p}, err
		}
		if c.SASL == SASLScram256 {
			return scram.Sha256(auth), nil
		}
		return scram.Sha512(auth), nil
	case SASLOAuth:
		read := func() (string, error) { return secret("token", c.TokenFile, c.TokenEnv) }
		if _, err := read(); err != nil {
			return nil, err
		}
		return bearer{oauth.Oauth(func(context.Context) (oauth.Auth, error) {
			t, err := read()
			return oauth.Auth{Token: t}, err
		})}, nil
	case SASLAWSMSKIAM:
		if _, err := c.awsKeys(); err != nil {
			return nil, err
		}
		return aws.ManagedStreamingIAM(func(context.Context) (aws.Auth, error) { return c.awsKeys() }), nil
	default:
		return nil, nil //nolint:nilnil // no mechanism is an answer
	}
}

func (c KafkaConfig) awsKeys() (aws.Auth, error) {
	a := aws.Auth{UserAgent: "weir-collector"}
	if c.AWSCredentialsFile == "" {
		a.AccessKey, a.SecretKey, a.SessionToken = os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_SESSION_TOKEN")
		if a.AccessKey == "" || a.SecretKey == "" {
			return a, errors.New("AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY is not set; set both or name aws_credentials_file")
		}
		return a, nil
	}
	b, err := os.ReadFile(c.AWSCredentialsFile)
	if err != nil {
		return a, fmt.Errorf("cannot read aws_credentials_file: %w", err)
	}
	profile := c.AWSProfile
	if profile == "" {
		profile = "default"
	}
	in := false
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		line := strings.TrimSpace(s.Text())
		if name, ok := strings.CutPrefix(line, "["); ok {
			in = strings.TrimSpace(strings.TrimSuffix(name, "]")) == profile
			continue
		}
		k, v, ok := strings.Cut(line, "=")
		if !in || !ok {
			continue
		}
		switch v = strings.TrimSpace(v); strings.TrimSpace(k) {
		case "aws_access_key_id":
			a.AccessKey = v
		case "aws_secret_access_key":
			a.SecretKey = v
		case "aws_session_token":
			a.SessionToken = v
		}
	}
	if a.AccessKey == "" || a.SecretKey == "" {
		return a, fmt.Errorf("aws_credentials_file %q has no keys under [%s]; name the section in aws_profile", c.AWSCredentialsFile, profile)
	}
	return a, nil
}

// bearer is OAUTHBEARER that says why a token was refused: the broker's answer, which holds a status and no secret.
type bearer struct{ sasl.Mechanism }

func (m bearer) Authenticate(ctx context.Context, host string) (sasl.Session, []byte, error) {
	s, first, err := m.Mechanism.Authenticate(ctx, host)
	return bearerSession{s}, first, err
}

type bearerSession struct{ sasl.Session }

func (s bearerSession) Challenge(answer []byte) (bool, []byte, error) {
	if len(answer) > 0 {
		return false, nil, fmt.Errorf("the broker refused the token: %.200q; put a valid one into token_file", answer)
	}
	return s.Session.Challenge(answer)
}
