// Package embedded puts a Kafka-compatible broker into the Caddy process, so
// that the first steps with the gateway, and its tests, need nothing else
// installed. It is the Caddy app kafka_embedded:
//
//	{
//		kafka_embedded {
//			listen 127.0.0.1:19092
//			topics chat orders:4
//		}
//	}
//
// The broker speaks Kafka's protocol on a TCP port, to the gateway as to any
// other Kafka client. It keeps its records in memory, without authentication,
// encryption or replication: never put real data into it.
//
// Nothing of the gateway imports this package. A build without it (xcaddy and
// the gateway's module alone) is smaller by the broker.
package embedded

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/kafkaws/kafkaws/record"
)

// DefaultListen is the address that the broker listens on unless the
// configuration says otherwise. Not Kafka's 9092, which a real broker on the
// same machine would have.
const DefaultListen = "127.0.0.1:19092"

// MaxPartitions is the largest number of partitions of a Topic. All of them live
// in the memory of one process, so a number beyond it is a slip of the pen.
const MaxPartitions = 1000

func init() {
	caddy.RegisterModule(App{})
}

// App is a Kafka-compatible broker inside the Caddy process, for first steps and
// for tests. It is not for production: its records are in memory only and end
// with the process, and whoever reaches its port may read, write and delete
// everything.
//
// Any Kafka client may talk to it: point `kafka_websocket`'s `brokers`, or the
// console tools of Apache Kafka, to its address.
//
// A reload of the configuration keeps the broker, its records and its clients'
// connections, as long as the new configuration has a broker on the same
// address. A configuration that has none any more leaves the broker to the
// clients that are still connected; it closes once the last of them has gone.
type App struct {
	// The address to listen on, `host:port`. The host is an IP address of this
	// machine or `localhost`; clients are sent to this very address, so it can
	// be neither empty nor `0.0.0.0`. The port is 1 to 65535. Default:
	// `127.0.0.1:19092`.
	Listen string `json:"listen,omitempty"`

	// The topics that exist from the start. A topic that a reload adds is
	// created; one that a reload no longer names stays, with its records, and so
	// does the number of partitions of one that exists. Clients may create more
	// topics. Default: none.
	Topics []Topic `json:"topics,omitempty"`

	logger *zap.Logger
	// broker is set from Start on, while this app holds a reference to it.
	broker *broker
}

// Topic is a topic that an App's broker has from its start.
type Topic struct {
	// The topic's name: 1 to 249 of the characters `A-Z a-z 0-9 . _ -`, and
	// neither `.` nor `..`.
	Name string `json:"name"`

	// The number of partitions, 1 to 1000. Default: 1.
	Partitions int `json:"partitions,omitempty"`
}

// String returns the topic as the Caddyfile writes it, name:partitions.
func (t Topic) String() string {
	return t.Name + ":" + strconv.Itoa(t.Partitions)
}

// CaddyModule returns the Caddy module information.
func (App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "kafka_embedded",
		New: func() caddy.Module { return new(App) },
	}
}

// Provision fills in the defaults and resolves the placeholders of Listen that
// are known while a configuration loads, such as {env.PORT}. It does not listen:
// caddy validate and caddy adapt come here too.
func (a *App) Provision(ctx caddy.Context) error {
	a.logger = ctx.Logger()
	if a.Listen == "" {
		a.Listen = DefaultListen
	}
	a.Listen = caddy.NewReplacer().ReplaceKnown(a.Listen, "")
	for i := range a.Topics {
		if a.Topics[i].Partitions == 0 {
			a.Topics[i].Partitions = 1
		}
	}
	return nil
}

// Validate refuses an address that no client could be sent to, illegal topic
// names, topics named twice, and impossible numbers of partitions. It brings
// Listen into the one form that brokers are shared by.
func (a *App) Validate() error {
	listen, err := canonicalAddress(a.Listen)
	if err != nil {
		return err
	}
	a.Listen = listen
	for i, t := range a.Topics {
		if err := t.validate(); err != nil {
			return err
		}
		if slices.ContainsFunc(a.Topics[:i], func(o Topic) bool { return o.Name == t.Name }) {
			return fmt.Errorf("topic %q is named twice", t.Name)
		}
	}
	return nil
}

// Start makes the broker listen, or takes a reference to the one that the
// configuration before this one started, and creates the topics that are
// missing. It fails when the address cannot be listened on, which most often
// means that another process has the port.
func (a *App) Start() error {
	b, kept, err := acquire(a.Listen)
	if err != nil {
		return err
	}
	// From here on Cleanup gives the reference back, also when a topic cannot be
	// created: Caddy cleans up a configuration that failed to start.
	a.broker = b
	if err := b.createTopics(a.Topics, a.logger); err != nil {
		return err
	}
	names := make([]string, len(a.Topics))
	for i, t := range a.Topics {
		names[i] = t.String()
	}
	a.logger.Info("embedded Kafka broker, for first steps only: its records are in memory and end with this process",
		zap.String("address", a.Listen), zap.Strings("topics", names), zap.Bool("kept_from_before_reload", kept))
	return nil
}

// Stop does nothing. On a reload the broker belongs to the next configuration
// already; on exit the gateway's last publishes still need it, and apps stop in
// no particular order.
func (*App) Stop() error { return nil }

// Cleanup gives back the reference to the broker if Start took one. When the
// process exits it does not even that: sessions drain into the broker until the
// end, and it dies with the process.
func (a *App) Cleanup() error {
	b := a.broker
	a.broker = nil
	if b == nil || caddy.Exiting() {
		return nil
	}
	release(b)
	return nil
}

func (t Topic) validate() error {
	if !record.ValidTopic(t.Name) {
		return fmt.Errorf("%q is not a topic name: it takes 1 to %d of the characters A-Z a-z 0-9 . _ - and is neither \".\" nor \"..\"",
			t.Name, record.MaxTopicLength)
	}
	if t.Partitions < 1 || t.Partitions > MaxPartitions {
		return fmt.Errorf("topic %q: %d partitions; it takes 1 to %d", t.Name, t.Partitions, MaxPartitions)
	}
	return nil
}

// canonicalAddress checks an address to listen on and writes it in one form, so
// that localhost:19092 and 127.0.0.1:19092 are the same broker over a reload.
func canonicalAddress(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("listen address %q: %w; it is host:port, such as %s", addr, err, DefaultListen)
	}
	if strings.EqualFold(host, "localhost") {
		host = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || ip.IsUnspecified() {
		return "", fmt.Errorf("listen address %q: the host is localhost or one IP address of this machine, because the broker sends its clients to that very address", addr)
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil || p == 0 {
		return "", fmt.Errorf("listen address %q: the port is a number from 1 to 65535", addr)
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(p)).String(), nil
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Module       = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.Validator    = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
