// Command caddy is Caddy with the Kafka WebSocket gateway, its standard modules
// and the embedded broker for first steps: what `make run` starts and what the
// integration tests run. For a production build of your own, with other modules,
// use xcaddy.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/kafkaws/kafkaws"
	_ "github.com/kafkaws/kafkaws/embedded"
)

func main() {
	caddycmd.Main()
}
