package kafkaws_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/kafkaws/kafkaws/internal/kafkatest"
)

// browser is a Chromium without a window, told what to do by the protocol of its
// developer tools (https://chromedevtools.github.io/devtools-protocol/).
type browser struct {
	t    testing.TB
	cmd  *exec.Cmd
	ws   *websocket.Conn
	last int
	// complaints are the errors that pages have logged.
	complaints []string
}

// startBrowser starts a browser with a profile of its own until the test ends.
func startBrowser(t testing.TB) *browser {
	t.Helper()
	path := findTool(t, "KAFKAWS_CHROMIUM", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
	profile, err := os.MkdirTemp("", "kafkaws-browser")
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t}
	b.cmd = exec.Command(path, "--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
		"--no-first-run", "--no-default-browser-check", "--hide-scrollbars", "--window-size=1200,900",
		// The sandbox needs what containers and root do not have. All pages are ours.
		"--no-sandbox",
		"--user-data-dir="+profile, "--remote-debugging-port=0", "about:blank")
	stderr, err := b.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	address := make(chan string, 1)
	go func() {
		defer close(ended)
		var said []string
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if at, ok := strings.CutPrefix(lines.Text(), "DevTools listening on "); ok {
				address <- at
			}
			said = append(said, lines.Text())
		}
		if err := b.cmd.Wait(); err != nil && b.ws == nil {
			t.Logf("%s: %v\n%s", path, err, strings.Join(said, "\n"))
		}
	}()
	t.Cleanup(func() {
		_ = b.cmd.Process.Kill()
		<-ended
		// What the browser started may write to its profile a little longer.
		await(t, "removing the browser's profile", func() bool { return os.RemoveAll(profile) == nil })
	})
	select {
	case at := <-address:
		if b.ws, _, err = websocket.DefaultDialer.Dial(at, nil); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.close)
	case <-ended:
		t.Fatal("the browser ended at once")
	case <-time.After(2 * patience):
		t.Fatal("the browser did not start")
	}
	return b
}

func (b *browser) close() {
	_ = b.ws.SetReadDeadline(time.Now().Add(patience))
	_ = b.ws.WriteJSON(map[string]any{"id": b.last + 1, "method": "Browser.close"})
	for {
		if _, _, err := b.ws.ReadMessage(); err != nil {
			_ = b.ws.Close()
			return
		}
	}
}

// call has the browser do something and returns its answer.
func (b *browser) call(session, method string, params map[string]any, result any) {
	b.t.Helper()
	b.last++
	request := map[string]any{"id": b.last, "method": method, "params": params}
	if session != "" {
		request["sessionId"] = session
	}
	if err := b.ws.WriteJSON(request); err != nil {
		b.t.Fatal(err)
	}
	_ = b.ws.SetReadDeadline(time.Now().Add(2 * patience))
	for {
		var answer struct {
			ID     int
			Result json.RawMessage
			Error  *struct{ Message string }
			Method string
			Params json.RawMessage
		}
		if err := b.ws.ReadJSON(&answer); err != nil {
			b.t.Fatalf("%s: %v", method, err)
		}
		switch {
		case answer.Method == "Runtime.exceptionThrown",
			answer.Method == "Log.entryAdded" && strings.Contains(string(answer.Params), `"level":"error"`):
			b.complaints = append(b.complaints, string(answer.Params))
		case answer.ID != b.last || answer.Method != "":
		case answer.Error != nil:
			b.t.Fatalf("%s: %s", method, answer.Error.Message)
		default:
			if result != nil {
				if err := json.Unmarshal(answer.Result, result); err != nil {
					b.t.Fatalf("%s: %v in %s", method, err, answer.Result)
				}
			}
			return
		}
	}
}

// page is a window of the browser.
type page struct {
	*browser
	session string
}

// open opens an address and waits until it is loaded. Each page has a window of
// its own: those behind others are not drawn.
func (b *browser) open(url string) *page {
	b.t.Helper()
	var target struct{ TargetID string }
	b.call("", "Target.createTarget", map[string]any{"url": "about:blank", "newWindow": true}, &target)
	var attached struct{ SessionID string }
	b.call("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	p := &page{b, attached.SessionID}
	p.call(p.session, "Runtime.enable", nil, nil)
	p.call(p.session, "Log.enable", nil, nil)
	var navigated struct{ ErrorText string }
	p.call(p.session, "Page.navigate", map[string]any{"url": url}, &navigated)
	if navigated.ErrorText != "" {
		b.t.Fatalf("opening %s: %s", url, navigated.ErrorText)
	}
	p.eval(nil, `new Promise((resolve) => {
		if (document.readyState === "complete") resolve();
		else addEventListener("load", () => resolve());
	})`)
	return p
}

// eval evaluates an expression in the page, waits for it if it is a promise, and
// puts its value into result. Each %s stands for one of the values, as JSON.
func (p *page) eval(result any, expression string, values ...any) {
	p.t.Helper()
	quoted := make([]any, len(values))
	for i, v := range values {
		quoted[i] = mustJSON(v)
	}
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	p.call(p.session, "Runtime.evaluate", map[string]any{
		"expression": fmt.Sprintf(expression, quoted...), "awaitPromise": true, "returnByValue": true,
	}, &answer)
	if e := answer.ExceptionDetails; e != nil {
		p.t.Fatalf("%s: %s %s", tailOf(expression, 200), e.Text, e.Exception.Description)
	}
	if result == nil {
		return
	}
	if err := json.Unmarshal(answer.Result.Value, result); err != nil {
		p.t.Fatalf("%s: %v in %s", expression, err, answer.Result.Value)
	}
}

// until waits until an expression is true in the page.
func (p *page) until(expression string, values ...any) {
	p.t.Helper()
	await(p.t, expression, func() bool {
		var is bool
		p.eval(&is, "Boolean("+expression+")", values...)
		return is
	})
}

// write types text into the element that has the focus.
func (p *page) write(text string) {
	p.t.Helper()
	p.call(p.session, "Input.insertText", map[string]any{"text": text}, nil)
}

// pressEnter presses the key.
func (p *page) pressEnter() {
	p.t.Helper()
	for _, kind := range []string{"keyDown", "keyUp"} {
		p.call(p.session, "Input.dispatchKeyEvent", map[string]any{
			"type": kind, "key": "Enter", "code": "Enter", "text": "\r", "windowsVirtualKeyCode": 13,
		}, nil)
	}
}

// screenshot returns the page as it looks now, as PNG.
func (p *page) screenshot() []byte {
	p.t.Helper()
	var shot struct{ Data string }
	p.call(p.session, "Page.captureScreenshot", map[string]any{"format": "png"}, &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		p.t.Fatal(err)
	}
	return png
}

// findTool returns the path of a program: what the environment variable says, or
// the first of the names that is in the PATH.
func findTool(t testing.TB, variable string, names ...string) string {
	t.Helper()
	if path := os.Getenv(variable); path != "" {
		names = []string{path}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	kafkatest.Lack(t, "there is no %s", names[0])
	return ""
}
