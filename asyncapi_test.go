package kafkaws_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// asyncapiResult is what AsyncAPI's own parser says of a document.
type asyncapiResult struct {
	// Messages is how many it found.
	Messages    int
	Diagnostics []struct{ Severity, Rule, Path, Message string }
}

// parseAsyncAPI has documents parsed, in one process because starting it takes
// the most time.
func parseAsyncAPI(t *testing.T, documents []string) []asyncapiResult {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), findTool(t, "KAFKAWS_NODE", "node", "nodejs"), "testdata/asyncapi.js")
	cmd.Env = append(os.Environ(), "NODE_PATH="+os.Getenv("KAFKAWS_NODE_PATH"))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(mustJSON(documents)), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if strings.Contains(stderr.String(), "Cannot find module '@asyncapi/parser'") {
			kafkatest.Lack(t, "the npm package @asyncapi/parser is not installed; `make deps` installs it")
		}
		t.Fatalf("%v: %s", err, &stderr)
	}
	var results []asyncapiResult
	if err := json.Unmarshal(stdout.Bytes(), &results); err != nil || len(results) != len(documents) {
		t.Fatalf("%v in %.300q", err, stdout.Bytes())
	}
	return results
}

// TestAsyncAPIDocument: the description of the wire for machines is a valid
// AsyncAPI document. That its examples are what it says is tested in package
// codec.
func TestAsyncAPIDocument(t *testing.T) {
	document := readText(t, "docs/asyncapi.yaml")
	// The parser finds what is wrong, so that its silence means something.
	wrong := strings.Replace(document, "type: object\n", "type: thing\n", 1)

	results := parseAsyncAPI(t, []string{document, wrong})

	found := false
	for _, d := range results[1].Diagnostics {
		found = found || d.Severity == "error"
	}
	if !found {
		t.Errorf("the parser does not mind a schema of the type thing")
	}
	for _, d := range results[0].Diagnostics {
		if d.Severity == "error" || d.Severity == "warning" {
			t.Errorf("%s: %s: %s (%s)", d.Severity, d.Path, d.Message, d.Rule)
		}
	}
	if results[0].Messages == 0 {
		t.Error("the parser found no messages")
	}
}
