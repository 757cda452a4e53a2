package kafkaws_test

import (
	"bytes"
	"io"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// extendedConnect asks for a WebSocket over HTTP/2 (RFC 8441), as a browser does
// where the server takes such requests, and returns the status of the answer.
func (s *site) extendedConnect() string {
	s.t.Helper()
	c := s.connect()
	framer := http2.NewFramer(c, c.r)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range []hpack.HeaderField{
		{Name: ":method", Value: "CONNECT"},
		{Name: ":protocol", Value: "websocket"},
		{Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: s.addr},
		{Name: ":path", Value: s.path},
		{Name: "sec-websocket-version", Value: "13"},
	} {
		_ = encoder.WriteField(field) // into memory
	}
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		s.t.Fatal(err)
	}
	if err := framer.WriteSettings(); err != nil {
		s.t.Fatal(err)
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			s.t.Fatalf("reading an HTTP/2 frame: %v", err)
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if frame.IsAck() {
				continue
			}
			if v, _ := frame.Value(http2.SettingEnableConnectProtocol); v != 1 {
				s.t.Fatal("the server does not take extended CONNECT requests")
			}
			err = framer.WriteSettingsAck()
			if err == nil {
				err = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true})
			}
			if err != nil {
				s.t.Fatal(err)
			}
		case *http2.MetaHeadersFrame:
			return frame.PseudoValue("status")
		}
	}
}
