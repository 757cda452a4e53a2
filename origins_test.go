package kafkaws

import (
	"net/http"
	"strings"
	"testing"
)

func TestOriginAllowed(t *testing.T) {
	const site = "https://app.example.com"
	for _, test := range []struct {
		name    string
		host    string   // of the request; the empty one is ws.example.com
		origin  []string // the Origin headers
		allowed string   // the origins directive
		want    bool
	}{
		// Without the directive.
		{name: "no origin", want: true},
		{name: "same host", origin: []string{"https://ws.example.com"}, want: true},
		{name: "same host, other scheme", origin: []string{"http://ws.example.com"}, want: true},
		{name: "same host, other case", origin: []string{"HTTPS://WS.example.COM"}, want: true},
		{name: "same host, host in other case", host: "WS.Example.com", origin: []string{"https://ws.example.com"}, want: true},
		{name: "same host, default port in origin", origin: []string{"https://ws.example.com:443"}, want: true},
		{name: "same host, default port of http in origin", origin: []string{"http://ws.example.com:80"}, want: true},
		{name: "same host, default port in host", host: "ws.example.com:443", origin: []string{"https://ws.example.com"}, want: true},
		{name: "same host and port", host: "localhost:8080", origin: []string{"http://localhost:8080"}, want: true},
		{name: "same address", host: "[::1]:8080", origin: []string{"http://[::1]:8080"}, want: true},
		{name: "same address, default port", host: "[::1]", origin: []string{"http://[::1]"}, want: true},
		{name: "other port in origin", origin: []string{"https://ws.example.com:8443"}},
		{name: "other port in host", host: "ws.example.com:8443", origin: []string{"https://ws.example.com"}},
		{name: "default port of the other scheme", origin: []string{"https://ws.example.com:80"}},
		{name: "other host", origin: []string{"https://evil.test"}},
		{name: "null", origin: []string{"null"}},
		{name: "empty value", origin: []string{""}},
		{name: "suffix trick", origin: []string{"https://ws.example.com.evil.test"}},
		{name: "prefix trick", origin: []string{"https://evilws.example.com"}},
		{name: "subdomain of the host", origin: []string{"https://x.ws.example.com"}},
		{name: "userinfo trick", origin: []string{"https://ws.example.com@evil.test"}},
		{name: "userinfo trick, reversed", origin: []string{"https://evil.test@ws.example.com"}},
		{name: "path trick", origin: []string{"https://evil.test/ws.example.com"}},
		{name: "fragment trick", origin: []string{"https://evil.test#ws.example.com"}},
		{name: "backslash trick", origin: []string{`https://evil.test\@ws.example.com`}},
		{name: "two headers", origin: []string{"https://ws.example.com", "https://evil.test"}},
		{name: "two equal headers", origin: []string{"https://ws.example.com", "https://ws.example.com"}},
		{name: "two origins in one header", origin: []string{"https://ws.example.com, https://evil.test"}},
		{name: "two origins in one header, by a space", origin: []string{"https://ws.example.com https://evil.test"}},
		{name: "no scheme", origin: []string{"ws.example.com"}},
		{name: "no host", origin: []string{"https://"}},
		{name: "no host in the request", host: "-", origin: []string{"https://"}},
		{name: "other kind of page", origin: []string{"chrome-extension://ws.example.com"}},
		{name: "page from the disk", origin: []string{"file://"}},

		// With it.
		{name: "listed", origin: []string{site}, allowed: site, want: true},
		{name: "listed, in other case", origin: []string{site}, allowed: "HTTPS://App.Example.com", want: true},
		{name: "listed, with its default port", origin: []string{site}, allowed: site + ":443", want: true},
		{name: "listed, but other scheme", origin: []string{"http://app.example.com"}, allowed: site},
		{name: "listed, but other port", origin: []string{site + ":8443"}, allowed: site},
		{name: "listed with a port", origin: []string{site + ":8443"}, allowed: site + ":8443", want: true},
		{name: "listed with a port, but without", origin: []string{site}, allowed: site + ":8443"},
		{name: "second of the list", origin: []string{site}, allowed: "https://a.test " + site, want: true},
		{name: "same host though a list is set", origin: []string{"https://ws.example.com"}, allowed: site, want: true},
		{name: "no origin though a list is set", allowed: site, want: true},
		{name: "suffix trick on the list", origin: []string{site + ".evil.test"}, allowed: site},
		{name: "userinfo trick on the list", origin: []string{site + "@evil.test"}, allowed: site},
		{name: "two headers, both listed", origin: []string{site, site}, allowed: site},
		{name: "null by name", origin: []string{"null"}, allowed: "null", want: true},
		{name: "null is not what is listed", origin: []string{"null"}, allowed: site},
		{name: "null opens nothing else", origin: []string{"https://evil.test"}, allowed: "null"},
		{name: "null in other case", origin: []string{"NULL"}, allowed: "null"},
		{name: "any", origin: []string{"https://evil.test"}, allowed: "*", want: true},
		{name: "any, null", origin: []string{"null"}, allowed: "*", want: true},
		{name: "any, two headers", origin: []string{site, "https://evil.test"}, allowed: "*"},
		{name: "extension", origin: []string{"chrome-extension://abcdef"}, allowed: "chrome-extension://abcdef", want: true},
		{name: "page from the disk, listed", origin: []string{"file://"}, allowed: "file://", want: true},
		{name: "address", origin: []string{"http://[::1]:3000"}, allowed: "http://[::1]:3000", want: true},

		// With subdomains.
		{name: "subdomain", origin: []string{site}, allowed: "https://*.example.com", want: true},
		{name: "subdomain of two labels", origin: []string{"https://a.b.example.com"}, allowed: "https://*.example.com", want: true},
		{name: "domain itself", origin: []string{"https://example.com"}, allowed: "https://*.example.com"},
		{name: "domain that ends alike", origin: []string{"https://evilexample.com"}, allowed: "https://*.example.com"},
		{name: "subdomain in the middle", origin: []string{"https://a.example.com.evil.test"}, allowed: "https://*.example.com"},
		{name: "subdomain with nothing before the dot", origin: []string{"https://.example.com"}, allowed: "https://*.example.com"},
		{name: "subdomain, but other scheme", origin: []string{"http://app.example.com"}, allowed: "https://*.example.com"},
		{name: "subdomain, but other port", origin: []string{site + ":8443"}, allowed: "https://*.example.com"},
		{name: "subdomain with a port", origin: []string{site + ":8443"}, allowed: "https://*.example.com:8443", want: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			allowed, err := compileOrigins(strings.Fields(test.allowed))
			if err != nil {
				t.Fatal(err)
			}
			r := &http.Request{Host: "ws.example.com", Header: http.Header{
				"X-Forwarded-Host": {"evil.test", "ws.example.com"}, // anyone can send it
			}}
			switch test.host {
			case "":
			case "-":
				r.Host = ""
			default:
				r.Host = test.host
			}
			if test.origin != nil {
				r.Header["Origin"] = test.origin
			}
			if err := originAllowed(r, allowed); (err == nil) != test.want {
				t.Errorf("got error %v, want allowed: %v", err, test.want)
			}
		})
	}
}

func TestForwardedHostDecidesNothing(t *testing.T) {
	r := &http.Request{Host: "ws.example.com", Header: http.Header{
		"Origin":           {"https://evil.test"},
		"X-Forwarded-Host": {"evil.test"},
	}}
	if originAllowed(r, nil) == nil {
		t.Error("a header that anyone can send opened the socket")
	}
}

func TestParseOriginPatternErrors(t *testing.T) {
	for value, want := range map[string]string{
		"":                         "scheme is missing",
		"example.com":              "as in https://example.com",
		"NULL":                     "scheme is missing",
		"wss://example.com":        "http or https",
		"https://example.com/":     "no slash at its end",
		"https://example.com/path": "no path",
		"https://*":                "a * stands for subdomains",
		"https://*example.com":     "a * stands for subdomains",
		"https://a.*.example.com":  "a * stands for subdomains",
		"https://example.com:*":    "a * stands for subdomains",
		"*://example.com":          "not a scheme, a host and maybe a port",
		"https://*.":               "not a scheme, a host and maybe a port",
		"https://bücher.example":   "punycode",
		"https://":                 "not a scheme, a host and maybe a port",
		"https://a@b":              "not a scheme, a host and maybe a port",
		"https://a:b":              "not a scheme, a host and maybe a port",
		"https://a:123456":         "not a scheme, a host and maybe a port",
		"https://a:":               "not a scheme, a host and maybe a port",
		"https://a..b":             "not a scheme, a host and maybe a port",
		"https://[::1":             "not a scheme, a host and maybe a port",
		"https://::1]":             "not a scheme, a host and maybe a port",
	} {
		_, err := parseOriginPattern(value)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("origin %q: got error %v, want one with %q", value, err, want)
		}
	}
}

func FuzzOriginAllowed(f *testing.F) {
	f.Add("https://ws.example.com", "ws.example.com")
	f.Add("https://a@b", "b")
	f.Add("https://[::1]:80", "[::1]:80")
	allowed, err := compileOrigins([]string{"https://*.example.com", "http://localhost:3000"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, origin, host string) {
		r := &http.Request{Host: host, Header: http.Header{"Origin": {origin}}}
		if originAllowed(r, allowed) != nil {
			return
		}
		// What passed ends in the host or in what the list has, port aside, and
		// holds nothing that could be read in another way.
		text := strings.ToLower(origin)
		if strings.ContainsAny(text, "@\\#? ,\t\r\n") || strings.Count(text, "/") != 2 {
			t.Errorf("origin %q passed", origin)
		}
		text = strings.TrimRight(text, "0123456789")
		bare := strings.TrimRight(strings.ToLower(host), "0123456789")
		for _, suffix := range []string{".example.com", "localhost"} {
			if strings.HasSuffix(strings.TrimSuffix(text, ":"), suffix) {
				return
			}
		}
		if strings.TrimSuffix(text[strings.Index(text, "://")+3:], ":") != strings.TrimSuffix(bare, ":") {
			t.Errorf("origin %q passed for host %q", origin, host)
		}
	})
}
