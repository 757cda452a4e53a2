package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
)

// launch is what a target is started with.
type launch struct {
	binary, dir string
	brokers     string
	topic       string // that a reference reads; none if it is empty
	transport   string

	listen, debug     string // addresses
	certificate, keys string // files, of TLS
}

// prepare chooses addresses, and makes a certificate where it needs one. It
// returns how a client is to trust it.
func (l *launch) prepare() (trust *tls.Config, err error) {
	if l.listen, l.debug, err = freeAddrs(); err != nil {
		return nil, err
	}
	if l.transport != overTLS {
		return nil, nil
	}
	l.certificate, l.keys = filepath.Join(l.dir, "certificate.pem"), filepath.Join(l.dir, "key.pem")
	return makeCertificate(l.certificate, l.keys)
}

// freeAddrs returns two addresses that nobody listens on.
func freeAddrs() (a, b string, err error) {
	first, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer first.Close()
	second, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer second.Close()
	return first.Addr().String(), second.Addr().String(), nil
}

func referenceCommand(l launch) (*exec.Cmd, error) {
	args := []string{"-brokers", l.brokers, "-topic", l.topic, "-listen", l.listen, "-debug", l.debug}
	switch l.transport {
	case overTLS:
		args = append(args, "-certificate", l.certificate, "-key", l.keys)
	case deflate:
		args = append(args, "-deflate")
	}
	return exec.Command(l.binary, args...), nil //nolint:gosec // built by us
}

// caddyCommand writes a Caddyfile: the product as it is set up by default, but
// for a buffer that floods fit into. The handler at /one times acknowledgements.
func caddyCommand(l launch) (*exec.Cmd, error) {
	scheme, site, handler := "http", "", ""
	switch l.transport {
	case overTLS:
		scheme, site = "https", fmt.Sprintf("tls %s %s", l.certificate, l.keys)
	case deflate:
		handler = "compression"
	}
	config := fmt.Sprintf(`{
	admin %s
	persist_config off
	auto_https disable_redirects
}
%s://%s {
	%s
	kafka_websocket /kafka {
		brokers %s
		subscribe *
		publish *
		consumer {
			buffer %dMiB
		}
		%s
	}
	kafka_websocket /one {
		brokers %[5]s
		publish *
		max_in_flight 1
	}
}
`, l.debug, scheme, l.listen, site, l.brokers, bufferMiB, handler)
	file := filepath.Join(l.dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(l.binary, "run", "--config", file) //nolint:gosec // built by us
	cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+l.dir, "XDG_CONFIG_HOME="+l.dir)
	return cmd, nil
}
