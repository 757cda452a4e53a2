package kafkaws

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// originPattern is one value of the origins directive.
type originPattern struct {
	any  bool   // `*`
	text string // `null`, which has no parts

	scheme, host, port string
	subdomains         bool // host is what follows `*.`
}

// compileOrigins reads the values of the origins directive.
func compileOrigins(values []string) ([]originPattern, error) {
	var patterns []originPattern
	for _, value := range values {
		pattern, err := parseOriginPattern(value)
		if err != nil {
			return nil, setting("origins", err)
		}
		patterns = append(patterns, pattern)
	}
	return patterns, nil
}

// parseOriginPattern reads one value of the origins directive.
func parseOriginPattern(s string) (originPattern, error) {
	switch s {
	case "*":
		return originPattern{any: true}, nil
	case "null":
		return originPattern{text: s}, nil
	}
	scheme, rest, found := strings.Cut(s, "://")
	hint := ""
	switch {
	case !found:
		hint = "a scheme is missing, as in https://" + s
	case strings.EqualFold(scheme, "ws") || strings.EqualFold(scheme, "wss"):
		hint = "an origin is the page's, whose scheme is http or https"
	case strings.Contains(rest, "/"):
		hint = "an origin has no path, and no slash at its end"
	case strings.Contains(strings.TrimPrefix(rest, "*."), "*"):
		hint = "a * stands for subdomains, as in https://*.example.com, or alone for every origin"
	case strings.ContainsFunc(rest, func(r rune) bool { return r > 127 }):
		hint = "write the host as browsers send it, in punycode (xn--...)"
	}
	trimmed, subdomains := strings.CutPrefix(rest, "*.")
	o, ok := parseOrigin(scheme + "://" + trimmed)
	if hint == "" && ok {
		return originPattern{scheme: o.scheme, host: o.host, port: o.port, subdomains: subdomains}, nil
	}
	if hint == "" {
		hint = "it is not a scheme, a host and maybe a port"
	}
	return originPattern{}, fmt.Errorf("got %q, expected such as https://example.com, https://*.example.com:8443, null or *: %s", s, hint)
}

// originAllowed decides which pages may open a socket. A browser lets any page
// connect anywhere and sends the cookies of the site that is connected to, so
// the origin that it states has to be looked at (cross-site WebSocket
// hijacking). What is not a browser sends no origin, or any that it likes, and
// has to be held off by authentication.
func originAllowed(r *http.Request, allowed []originPattern) error {
	values := r.Header.Values("Origin")
	switch len(values) {
	case 0:
		return nil
	case 1:
	default:
		// Whichever is believed, something before us may have believed another.
		return errors.New("the request has more than one Origin header")
	}
	text := values[0]
	o, ok := parseOrigin(text)
	if ok && o.sameHost(r.Host) {
		return nil
	}
	for _, pattern := range allowed {
		if pattern.any || pattern.text != "" && pattern.text == text || ok && pattern.match(o) {
			return nil
		}
	}
	return fmt.Errorf("origin %.200q is neither of the host %.200q nor allowed by origins", text, r.Host)
}

// match compares scheme, host and port: a page that came without encryption
// could have been changed on its way, and speaks for nothing that came with it.
func (p originPattern) match(o origin) bool {
	if p.text != "" || p.scheme != o.scheme || p.port != o.port {
		return false
	}
	if !p.subdomains {
		return p.host == o.host
	}
	// The dot before the host must be there and something before the dot:
	// evilexample.com is no subdomain of example.com.
	labels, found := strings.CutSuffix(o.host, "."+p.host)
	return found && labels != ""
}

// origin is the value of an Origin header (RFC 6454), in lower case.
type origin struct {
	scheme, host, port string // port is that of the scheme if none is named
}

// parseOrigin reads what browsers send for pages that came from a host. It
// takes nothing else, neither user names nor paths, so that no text can look
// like one host here and like another elsewhere.
func parseOrigin(s string) (origin, bool) {
	scheme, rest, found := strings.Cut(strings.ToLower(s), "://")
	if !found || scheme == "" || strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyz0123456789+-.") != "" {
		return origin{}, false
	}
	if scheme == "file" && rest == "" {
		return origin{scheme: scheme}, true // Chromium, for pages from the disk
	}
	host, port, ok := splitHost(rest, defaultPort(scheme))
	return origin{scheme: scheme, host: host, port: port}, ok
}

// sameHost compares with the Host of a request. Schemes are not compared, since
// a proxy before Caddy may have taken the encryption off; the origin's scheme
// decides which port is meant where none is named.
func (o origin) sameHost(requestHost string) bool {
	if o.scheme != "http" && o.scheme != "https" {
		return false
	}
	host, port, ok := splitHost(strings.ToLower(requestHost), defaultPort(o.scheme))
	return ok && o.host == host && o.port == port
}

func defaultPort(scheme string) string {
	switch scheme {
	case "http":
		return "80"
	case "https":
		return "443"
	default:
		return ""
	}
}

// splitHost cuts a host and a port, in lower case, apart.
func splitHost(s, port string) (string, string, bool) {
	host, _, _ := strings.Cut(s, ":")
	legal := "abcdefghijklmnopqrstuvwxyz0123456789-._"
	if end := strings.IndexByte(s, ']'); end >= 0 { // an IPv6 address
		host, legal = s[:end+1], "0123456789abcdef:."
	}
	if rest := s[len(host):]; rest != "" {
		port = strings.TrimPrefix(rest, ":")
		if port == rest || port == "" || len(port) > 5 || strings.Trim(port, "0123456789") != "" {
			return "", "", false
		}
	}
	name := host
	if strings.HasSuffix(host, "]") {
		if name = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"); len(name) != len(host)-2 {
			return "", "", false
		}
	}
	ok := name != "" && strings.Trim(name, legal) == "" && name[0] != '.' && !strings.Contains(name, "..")
	return host, port, ok
}
