// Package asyncapitest checks messages against the schemas of an AsyncAPI
// document.
package asyncapitest

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// Document is an AsyncAPI 3.0 document.
type Document struct {
	messages map[string]message
	schemas  map[string]*jsonschema.Schema
}

// message is a message of the document's components.
type message struct {
	Examples []Example `json:"examples"`
}

// Example is an example of a message.
type Example struct {
	// Name says what it is an example of.
	Name string `json:"name"`
	// Payload is the message as JSON.
	Payload json.RawMessage `json:"payload"`
}

// place is what the compiler calls the document. Nothing is read from there.
const place = "asyncapi.json"

// Load reads a document in YAML. Its schemas become stricter than they are: an
// object may have no members but those that are described, though clients and
// server ignore others. So a test notices a member that nobody has described.
func Load(t testing.TB, file string) *Document {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	asJSON, err := json.Marshal(tree)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	var parsed struct {
		Components struct {
			Messages map[string]message `json:"messages"`
		} `json:"components"`
	}
	if err := json.Unmarshal(asJSON, &parsed); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	// The compiler wants numbers as they are written, which its own reader keeps.
	resource, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	closeObjects(resource)
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft7) // AsyncAPI's schemas are a superset of it
	compiler.AssertFormat()
	if err := compiler.AddResource(place, resource); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	d := &Document{messages: parsed.Components.Messages, schemas: make(map[string]*jsonschema.Schema)}
	for name := range d.messages {
		if d.schemas[name], err = compiler.Compile(place + "#/components/messages/" + name + "/payload"); err != nil {
			t.Fatalf("%s: the payload of %s: %v", file, name, err)
		}
	}
	return d
}

// closeObjects forbids objects to have members that are not described.
func closeObjects(node any) {
	switch node := node.(type) {
	case []any:
		for _, child := range node {
			closeObjects(child)
		}
	case map[string]any:
		_, described := node["properties"].(map[string]any)
		if _, open := node["additionalProperties"]; described && !open && node["type"] == "object" {
			node["additionalProperties"] = false
		}
		for _, child := range node {
			closeObjects(child)
		}
	}
}

// Messages returns the names of the document's messages, in their order.
func (d *Document) Messages() []string { return slices.Sorted(maps.Keys(d.messages)) }

// Examples returns the examples of a message.
func (d *Document) Examples(message string) []Example { return d.messages[message].Examples }

// Validate returns why payload is not what the document says of a message, and
// nil if it is.
func (d *Document) Validate(message string, payload []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(payload))
	if err != nil {
		return err
	}
	return d.schemas[message].Validate(value)
}

// Check fails the test if payload is not what the document says of a message.
func (d *Document) Check(t testing.TB, message string, payload []byte) {
	t.Helper()
	if d.schemas[message] == nil {
		t.Errorf("the document has no message %q, which this is: %.300s", message, payload)
		return
	}
	if err := d.Validate(message, payload); err != nil {
		t.Errorf("%.300s: %v", payload, err)
	}
}

// CheckFrame fails the test if frame is not what the document says of the message
// that its member "type" names, or, of an array, not an array of records.
func (d *Document) CheckFrame(t testing.TB, frame []byte) {
	t.Helper()
	if bytes.HasPrefix(frame, []byte("[")) {
		d.Check(t, "records", frame)
		return
	}
	var typed struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(frame, &typed); err != nil {
		t.Errorf("%.300s: %v", frame, err)
		return
	}
	d.Check(t, typed.Type, frame)
}
