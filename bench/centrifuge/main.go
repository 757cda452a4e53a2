// Command centrifuge is a gateway from Kafka to WebSocket made of the library
// behind Centrifugo: each record is published to one channel, which the server
// subscribes every client to.
package main

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/centrifugal/centrifuge"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kafkaws/kafkaws/bench/internal/reference"
)

func main() {
	flags := reference.Parse()
	node, err := centrifuge.New(centrifuge.Config{
		// A client that lags is not disconnected: a flood is larger than the
		// megabyte that is the default.
		ClientQueueMaxSize: 1 << 30,
	})
	reference.Must(err)
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{
			Credentials:   &centrifuge.Credentials{},
			Subscriptions: map[string]centrifuge.SubscribeOptions{flags.Topic: {}},
		}, nil
	})
	reference.Must(node.Run())
	handler := centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		UseWriteBufferPool: true,
		WriteTimeout:       time.Minute,
		Compression:        flags.Deflate,
		CompressionLevel:   1, // as the product's
		// Compresses once for all, as far as clients get the same frames.
		CompressionPreparedMessageCacheSize: preparedCache(flags.Deflate),
		// Its pings are messages that want an answer, and no run lasts as long
		// as the product's first.
		PingPongConfig: centrifuge.PingPongConfig{PingInterval: -1},
	})
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	go func() { reference.Must(server.Serve(flags.Listen())) }()
	flags.Consume(func(fetches *kgo.Fetches) {
		fetches.EachRecord(func(r *kgo.Record) {
			_, err := node.Publish(flags.Topic, strconv.AppendQuote(nil, string(r.Value)))
			reference.Must(err)
		})
	})
}

// preparedCache is the size of the cache of compressed messages, in bytes.
func preparedCache(deflate bool) int64 {
	if !deflate {
		return 0
	}
	return 64 << 20
}
