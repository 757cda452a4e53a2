// Package transforms changes records, or drops them, on their way between Kafka
// and clients: one file for each transform that is built in, and beside them
// the contract that others' transforms keep.
package transforms

import (
	"context"

	"github.com/caddyserver/caddy/v2"

	"github.com/kafkaws/kafkaws/record"
)

// Namespace is the namespace of Caddy modules that transforms are registered in:
// the transform of the Caddyfile's name "jq" has the module ID Namespace + ".jq".
const Namespace = "http.kafka_websocket.transforms"

// Transform changes records or drops them. It is a guest module of the namespace
// http.kafka_websocket.transforms, so a Go module of anybody's can add one:
//
//	kafka_websocket {
//		transform in|out <name> [<args...>] {
//			<options...>
//		}
//	}
//
// The lines of each direction make a chain that every record passes in the order
// of the lines: those of clients to Kafka (in) between codec and policy, those of
// Kafka to clients (out) before the codec. The module reads what follows the
// direction itself, from its name on (caddyfile.Unmarshaler), and refuses what it
// does not know. This is a whole one, which hides one field of JSON objects:
//
//	package mask
//
//	import (
//		"context"
//
//		"github.com/caddyserver/caddy/v2"
//		"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
//		"github.com/kafkaws/kafkaws/record"
//		"github.com/kafkaws/kafkaws/transforms"
//		"github.com/tidwall/gjson"
//		"github.com/tidwall/sjson"
//	)
//
//	func init() { caddy.RegisterModule(Mask{}) }
//
//	// Mask hides a field: transform out mask card
//	type Mask struct {
//		// The field to hide.
//		Field string `json:"field,omitempty"`
//	}
//
//	func (Mask) CaddyModule() caddy.ModuleInfo {
//		return caddy.ModuleInfo{
//			ID:  transforms.Namespace + ".mask",
//			New: func() caddy.Module { return new(Mask) },
//		}
//	}
//
//	func (m *Mask) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
//		d.Next() // the transform's name
//		if !d.AllArgs(&m.Field) {
//			return d.ArgErr()
//		}
//		if d.Next() {
//			return d.Err("mask takes no block")
//		}
//		return nil
//	}
//
//	func (m Mask) Transform(_ context.Context, r *record.Record) (bool, error) {
//		if !gjson.ValidBytes(r.Value) || !gjson.GetBytes(r.Value, m.Field).Exists() {
//			return true, nil
//		}
//		masked, err := sjson.SetBytes(r.Value, m.Field, "****")
//		if err != nil {
//			return false, err
//		}
//		r.Value = masked
//		return true, nil
//	}
//
//	// Interface guards.
//	var (
//		_ caddyfile.Unmarshaler = (*Mask)(nil)
//		_ transforms.Transform  = Mask{}
//	)
//
// `xcaddy build --with <module>` makes a Caddy that has it.
//
// A transform may implement Binder, Renamer and Directional besides.
type Transform interface {
	// Transform returns true for a record that goes on its way, changed or not,
	// and false for one that is dropped. One for which it returns an error is
	// dropped too; the error is counted, and logged once in a while. ctx ends
	// when the record has taken too long, and no topic but the record's own
	// waits for it until then.
	//
	// It may set the fields of r, and put new bytes in the place of others, but
	// never writes into the bytes or the headers that it finds there: others
	// may be reading them. It keeps none of them either. An out-transform leaves
	// Partition and Offset as they are, which are the client's position, and
	// Topic too unless it is a Renamer. A nil Value is a tombstone.
	//
	// It is called by many goroutines at once, and for an out-record once or
	// many times, but not once for each session: a client that is behind may
	// have the same records read again. So what it does depends on r and its
	// options alone. After Provision it needs nothing that its Cleanup releases,
	// since sessions outlive the configuration that they began with.
	Transform(ctx context.Context, r *record.Record) (keep bool, err error)
}

// Binder is implemented by an in-transform that depends on who publishes.
type Binder interface {
	// Bind returns the transform of one session. It is called once for each
	// session, during the handshake: placeholders of the request have to be
	// read then, and nothing of the request or of repl may be kept, because the
	// result outlives both. When it fails, the handshake does. On a chain that
	// goes out it is never called, as sessions share that one.
	Bind(repl *caddy.Replacer) (Transform, error)
}

// Renamer is implemented by a transform that renames topics one to one, so that
// clients and the site know a topic by another name than Kafka: its outward name.
// The host asks for all Renamers of a chain at once, through Names, which says
// how it has to go about it.
type Renamer interface {
	// Inward returns Kafka's name for an outward name; ok is false for one that
	// the transform does not rename. A name that no topic can have, such as the
	// empty one, puts the topic out of reach.
	Inward(outward string) (kafka string, ok bool)
	// Outward returns the outward name for one of Kafka's, in the same way.
	// Where both give a name that a topic can have, each undoes the other.
	Outward(kafka string) (outward string, ok bool)
}

// Direction is the way that the records of a chain go.
type Direction string

const (
	// DirectionIn is from clients to Kafka.
	DirectionIn Direction = "in"
	// DirectionOut is from Kafka to clients.
	DirectionOut Direction = "out"
)

// Directional is implemented by a transform for which the direction of its chain
// makes a difference, or that serves one direction alone.
type Directional interface {
	// SetDirection tells the direction, or fails if the transform cannot serve
	// it. The host calls it when the module was loaded (after Provision and
	// Validate) and before its first use; and, on the module that the Caddyfile's
	// line was read into, after UnmarshalCaddyfile, so that the message has that
	// line. It has to do with either.
	SetDirection(d Direction) error
}
