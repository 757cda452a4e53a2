// Package reference is what the references have in common: their flags, how
// they consume, and how they are looked into.
package reference

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Flags are what a reference is started with.
type Flags struct {
	Brokers string // of Kafka, host:port
	Topic   string // that is read; none if it is empty
	Deflate bool   // messages are compressed

	listen, debug, certificate, key string
}

// Parse reads the flags and starts to answer on the address for profiles.
func Parse() Flags {
	var f Flags
	flag.StringVar(&f.Brokers, "brokers", "", "`address` of Kafka")
	flag.StringVar(&f.Topic, "topic", "", "topic to read")
	flag.StringVar(&f.listen, "listen", "", "`address` for clients")
	flag.StringVar(&f.certificate, "certificate", "", "`file` of the certificate; then clients speak TLS")
	flag.StringVar(&f.key, "key", "", "`file` of its key")
	flag.BoolVar(&f.Deflate, "deflate", false, "compress messages")
	flag.StringVar(&f.debug, "debug", "", "`address` for profiles")
	flag.Parse()
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	server := &http.Server{Addr: f.debug, Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { Must(server.ListenAndServe()) }()
	return f
}

// Listen listens for clients, with TLS if there is a certificate.
func (f Flags) Listen() net.Listener {
	listener, err := net.Listen("tcp", f.listen)
	Must(err)
	if f.certificate == "" {
		return listener
	}
	pair, err := tls.LoadX509KeyPair(f.certificate, f.key)
	Must(err)
	return tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
}

// Consume reads the topic from its first record and hands over what each poll
// brings. It does not return.
func (f Flags) Consume(take func(*kgo.Fetches)) {
	if f.Topic == "" {
		select {}
	}
	cl, err := kgo.NewClient(
		kgo.SeedBrokers(f.Brokers),
		kgo.ConsumeTopics(f.Topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		// The topic is new, and may have no leader yet: 5 seconds by default.
		kgo.MetadataMinAge(100*time.Millisecond),
		// As the product reads.
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	)
	Must(err)
	for {
		fetches := cl.PollFetches(context.Background())
		Must(fetches.Err())
		take(&fetches)
	}
}

// Must ends the process on an error.
func Must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
