package scrape

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
)

// targets builds the targets of an entry; rules may leave some out.
func (t TargetConfig) targets(node string) ([]*target, error) {
	client, err := t.client()
	if err != nil {
		return nil, err
	}
	var list []*target
	add := func(u *url.URL) error {
		ls, ok := t.labels(u, node)
		if !ok {
			return nil
		}
		final := *u
		final.Scheme, final.Host, final.Path = ls.Get(model.SchemeLabel), ls.Get(model.AddressLabel), ls.Get(model.MetricsPathLabel)
		q := url.Values{}
		ls.Range(func(l labels.Label) {
			if name, ok := strings.CutPrefix(l.Name, model.ParamLabelPrefix); ok {
				q.Set(name, l.Value)
			}
		})
		final.RawQuery = q.Encode()
		if final.Host == "" || (final.Scheme != "http" && final.Scheme != "https") {
			return fmt.Errorf("cannot use target %q: relabelling made it %q", u, final.String())
		}
		b := labels.NewBuilder(ls)
		if ls.Get(model.InstanceLabel) == "" {
			b.Set(model.InstanceLabel, final.Host)
		}
		ls.Range(func(l labels.Label) {
			if strings.HasPrefix(l.Name, model.ReservedLabelPrefix) {
				b.Del(l.Name)
			}
		})
		public := b.Labels()
		var plain *direct
		if final.Scheme == "http" {
			plain = newDirect(t.Timeout, final.Hostname(), final.Port())
		}
		list = append(list, &target{
			direct: plain,
			cfg:    t, url: final.String(), labels: public, client: client,
			gzip:   t.Compression == CompressionOn || (t.Compression == CompressionAuto && !loopback(final.Hostname())),
			offset: offset(public.String()+final.String(), t.Interval),
			cache:  newCache(public, t.MetricRelabel, t.HonorLabels),
		})
		return nil
	}
	for _, s := range t.URLs {
		u, err := url.Parse(s)
		if err != nil {
			return nil, fmt.Errorf("cannot read url %q: %w", s, err)
		}
		if u.Path == "" {
			u.Path = "/metrics"
		}
		if err := add(u); err != nil {
			return nil, err
		}
	}
	for _, a := range t.Addresses {
		if err := add(&url.URL{Scheme: "http", Host: a, Path: "/metrics"}); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// labels are the target's labels after relabelling, inner ones included.
func (t TargetConfig) labels(u *url.URL, node string) (labels.Labels, bool) {
	b := labels.NewBuilder(labels.EmptyLabels())
	set := func(name, value string) {
		if value != "" {
			b.Set(name, value)
		}
	}
	set(model.AddressLabel, u.Host)
	set(model.SchemeLabel, u.Scheme)
	set(model.MetricsPathLabel, u.Path)
	for name, v := range u.Query() {
		set(model.ParamLabelPrefix+name, v[0])
	}
	set(model.JobLabel, t.Job)
	set("node", node)
	set("service", t.Service)
	set("container", t.Container)
	for name, v := range t.Labels {
		set(name, v)
	}
	keep := relabel.ProcessBuilder(b, t.Relabel...)
	return b.Labels(), keep
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// maxStep bounds how far apart targets begin at most that might begin one after the other.
const maxStep = 500 * time.Millisecond

// offset spreads targets over the interval, always the same way, in at least ten steps. The targets of a step share what
// it costs to wake up.
func offset(key string, interval time.Duration) time.Duration {
	return time.Duration(xxhash.Sum64String(key) % uint64(interval)).Truncate(min(interval/10, maxStep))
}

// client makes the HTTP client of an entry. Its connections stay open between scrapes.
func (t TargetConfig) client() (*http.Client, error) {
	tc := &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: t.TLS.ServerName,
		InsecureSkipVerify: t.TLS.InsecureSkipVerify, //nolint:gosec // the configuration says so
	}
	if t.TLS.CAFile != "" {
		pem, err := os.ReadFile(t.TLS.CAFile)
		if err != nil {
			return nil, fmt.Errorf("cannot read tls.ca_file %q: %w", t.TLS.CAFile, err)
		}
		tc.RootCAs = x509.NewCertPool()
		if !tc.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("cannot use tls.ca_file %q: it holds no PEM certificate", t.TLS.CAFile)
		}
	}
	if t.TLS.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.TLS.CertFile, t.TLS.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("cannot use tls.cert_file %q: %w", t.TLS.CertFile, err)
		}
		tc.Certificates = []tls.Certificate{pair}
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext:     (&net.Dialer{Timeout: t.Timeout, KeepAlive: 30 * time.Second}).DialContext,
			TLSClientConfig: tc, MaxIdleConnsPerHost: 2, IdleConnTimeout: max(3*t.Interval, time.Minute),
			DisableCompression: true, // we ask for it and undo it ourselves, within a bound
			ReadBufferSize:     16 << 10, WriteBufferSize: 1 << 10, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) >= 5 {
				return errors.New("more than 5 redirects")
			}
			if r.URL.Host != via[0].URL.Host { // a credential is for the host it was configured for
				r.Header.Del("Authorization")
			}
			return nil
		},
	}, nil
}
