package remote

import (
	"context"
	"encoding/base64"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/gitcmd"
)

// Target is a remote repository as a request names it.
type Target struct {
	URL           string // may carry a user and a password
	Authorization string // value of the header, with its scheme; it wins over the URL's
	Resolved      string // address of the host, if the caller knows it
	Query         bool   // the URL may have a query; git's may not
	Key           string // private key for SSH; "" for none
	KnownHosts    string // keys of SSH servers, in the form of a known_hosts file
}

// Endpoint is a target that has been checked. It is a Remote.
type Endpoint struct {
	URL           string // without user and password
	Authorization string // "" for none
	host, port    string
	addresses     []netip.Addr
	secrets       []string // texts that must not be told
}

// Limits of what a request may say.
const (
	maxURL    = 4096
	maxHeader = 16 << 10
)

// hostName is a name that means the same to Go, to curl and to the name service:
// its last label is no number, since curl takes "127.1" and "0x7f000001" for
// addresses.
var hostName = regexp.MustCompile(`^([a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?\.)*[a-zA-Z]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$`)

// Check takes a target apart, resolves its host and checks the address. Only http
// and https are known. What is malformed is errs.Invalid; for addresses see
// Policy.
func (p Policy) Check(ctx context.Context, t Target) (*Endpoint, error) {
	u, err := parse(t.URL, "https", "http")
	if err != nil {
		return nil, err
	}
	if !t.Query && (u.RawQuery != "" || u.ForceQuery) {
		return nil, errs.New(errs.Invalid, "the URL of the remote must not have a query")
	}
	e := &Endpoint{host: u.Hostname(), port: u.Port()}
	if e.port == "" {
		e.port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	if e.Authorization, err = authorization(t, u.User); err != nil {
		return nil, err
	}
	e.secrets = secretTexts(e.Authorization, u.User)
	u.User = nil
	e.URL = u.String()
	e.addresses, err = p.resolve(ctx, e.host, t.Resolved)
	return e, err
}

// parse accepts URLs that mean the same to everybody who reads them. Its errors do
// not repeat the URL, which may hold a password.
func parse(raw string, schemes ...string) (*url.URL, error) {
	if len(raw) > maxURL {
		return nil, errs.New(errs.Invalid, "the URL of the remote is too long")
	}
	if strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' }) {
		return nil, errs.New(errs.Invalid, "the URL of the remote has a character that must be escaped")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errs.New(errs.Invalid, "the URL of the remote is malformed")
	}
	switch {
	case !slices.Contains(schemes, u.Scheme):
		return nil, errs.New(errs.Invalid, "the URL of the remote must begin with "+strings.Join(schemes, ":// or ")+"://")
	case u.Opaque != "" || u.Host == "" || !validHost(u.Hostname()) || !validPort(u.Port()) || strings.HasSuffix(u.Host, ":"):
		return nil, errs.New(errs.Invalid, "the URL of the remote has no valid host")
	case u.Fragment != "" || strings.Contains(raw, "#"):
		return nil, errs.New(errs.Invalid, "the URL of the remote must not have a fragment")
	}
	return u, nil
}

func validHost(host string) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Zone() == ""
	}
	return len(host) <= 253 && hostName.MatchString(host)
}

func validPort(port string) bool {
	if port == "" {
		return true
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// authorization is the value of the header, from the request or from the URL.
func authorization(t Target, user *url.Userinfo) (string, error) {
	value := t.Authorization
	if value == "" && user != nil && basic(user) != "" {
		value = "Basic " + base64.StdEncoding.EncodeToString([]byte(basic(user)))
	}
	if len(value) > maxHeader || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", errs.New(errs.Invalid, "invalid authorization header")
	}
	return value, nil
}

// basic is a URL's user and password as basic authentication writes them.
func basic(user *url.Userinfo) string {
	password, _ := user.Password()
	if user.Username() == "" && password == "" {
		return ""
	}
	return user.Username() + ":" + password
}

// secretTexts are the forms in which a credential could show up.
func secretTexts(header string, user *url.Userinfo) []string {
	texts := []string{header}
	if _, token, ok := strings.Cut(header, " "); ok {
		texts = append(texts, token)
		if plain, err := base64.StdEncoding.DecodeString(token); err == nil {
			_, password, _ := strings.Cut(string(plain), ":")
			texts = append(texts, string(plain), password)
		}
	}
	if user != nil {
		password, _ := user.Password()
		texts = append(texts, user.String(), password, url.QueryEscape(password))
	}
	return texts
}

// minSecret is the length from which a text is taken for a secret: removing
// shorter ones would make messages unreadable and tell what they are.
const minSecret = 4

// Conceal removes the endpoint's credentials from a text.
func (e *Endpoint) Conceal(text string) string {
	for _, s := range e.secrets {
		if len(s) >= minSecret {
			text = strings.ReplaceAll(text, s, "[FILTERED]")
		}
	}
	return text
}

// connect lets git use the URL's protocol, to the checked addresses alone.
func (e *Endpoint) connect(context.Context) (*line, error) {
	scheme, _, _ := strings.Cut(e.URL, ":")
	l := &line{url: e.URL, conceal: e.Conceal, config: []gitcmd.Config{
		{Key: "protocol." + scheme + ".allow", Value: "always"},
		{Key: "http.lowSpeedLimit", Value: "1"}, {Key: "http.lowSpeedTime", Value: strconv.Itoa(int(idleBound.Seconds()))},
	}}
	if _, err := netip.ParseAddr(e.host); err != nil { // an address needs no resolving
		l.config = append(l.config, gitcmd.Config{Key: "http.curloptResolve", Value: e.host + ":" + e.port + ":" + e.pinned()})
	}
	if e.Authorization != "" {
		l.secrets = []gitcmd.Config{{Key: "http.extraHeader", Value: "Authorization: " + e.Authorization}}
	}
	return l, nil
}

// pinned is the list of addresses as curl wants it.
func (e *Endpoint) pinned() string {
	list := make([]string, 0, len(e.addresses))
	for _, a := range e.addresses {
		if a.Is6() {
			list = append(list, "["+a.String()+"]")
		} else {
			list = append(list, a.String())
		}
	}
	return strings.Join(list, ",")
}

// DialContext connects to the checked addresses, whatever the name asked for.
func (e *Endpoint) DialContext(ctx context.Context, network, _ string) (net.Conn, error) {
	var dialer net.Dialer
	var err error
	for _, a := range e.addresses {
		var conn net.Conn
		if conn, err = dialer.DialContext(ctx, network, net.JoinHostPort(a.String(), e.port)); err == nil {
			return conn, nil
		}
	}
	return nil, err
}
