package collector

import (
	"context"
	"net"
	"time"

	"github.com/weirhq/weir/collector/audit"
	"github.com/weirhq/weir/collector/broker"
	"github.com/weirhq/weir/collector/origin"
	"github.com/weirhq/weir/collector/otlp"
	"github.com/weirhq/weir/collector/ship"
	"github.com/weirhq/weir/collector/spool"
	"github.com/weirhq/weir/internal/lease"
)

// source shows a spool to ship.
type source struct{ *spool.Spool }

func (s source) Next(ctx context.Context) (ship.Record, error) {
	r, err := s.Spool.Next(ctx)
	return ship.Record{Seq: r.Seq, Kind: r.Kind, ContentEncoding: r.Encoding.String(), Items: r.Items, Body: r.Body}, err
}

// otlpAudit shows an audit counter to otlp.
type otlpAudit struct{ c *audit.Counter }

func (a otlpAudit) Add(inc otlp.Increment) error { return a.c.Add(audit.Increment(inc)) }

func (a otlpAudit) Set(inc otlp.Increment, epoch int64) (uint64, error) {
	return a.c.Set(audit.Increment(inc), epoch)
}

func (a otlpAudit) Seen(t otlp.Life) error { return a.c.Seen(t) }

func (a otlpAudit) Folded(t otlp.Life, n uint64, since, told time.Time) error {
	return a.c.Folded(t, n, since, told)
}

// otlpOrigin shows the resolver to otlp. A process id that a sender states is believed only from this machine:
// elsewhere the number means another process.
type otlpOrigin struct{ r *origin.Resolver }

func (o otlpOrigin) OTLP(pid int32, peer net.Addr) (service, container string) {
	if pid <= 0 || !local(peer) {
		return "", ""
	}
	t := o.r.ByPID(pid)
	return t.Service, t.Container
}

func local(a net.Addr) bool {
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	default:
		return false
	}
}

// leases lets the brokers' pollers ask the server that everything is shipped to; nil when it knows no leases.
func leases(a *ship.Asker) broker.LeaseFunc {
	if a == nil {
		return nil
	}
	return func(ctx context.Context, r lease.Request) (lease.Answer, error) {
		var answer lease.Answer
		err := a.Ask(ctx, r, &answer)
		return answer, err
	}
}
